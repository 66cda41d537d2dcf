"""What bfloat16 costs the planned weights: the encoders' features of eight rows of the plan, against float32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.extract.audio.recorded import Recorder
from keybed.extract.audio.render import Renderer
from keybed.extract.config import PlanConfig
from keybed.extract.corpus.parse import ParsedRecording
from keybed.extract.degrade import make_variant, prepare
from keybed.extract.encoders import build
from keybed.extract.encoders.base import Clip
from keybed.extract.encoders.errors import WrongArithmetic
from keybed.extract.encoders.self_check import percent, relative_errors
from keybed.extract.music.notes_file import load_notes
from keybed.extract.planning.row_plan import RowPlan
from keybed.extract.regular_files import find_file
from keybed.store.counted import counted
from keybed.store.format.recipe import EncoderSpec
from keybed.store.format.vocabulary import Status

N_CLIPS = 8


def precision_lines(
    specs: tuple[EncoderSpec, ...], machine_paths: Mapping[str, str], clips: Iterator[Clip]
) -> list[str]:
    """One line per encoder that will compute in bfloat16 with trained weights: its error, or why it was not measured."""
    wanted = [spec for spec in specs if spec.compute_dtype == "bfloat16" and not spec.random_weights]
    if not wanted:
        return []
    names = ", ".join(spec.name for spec in wanted)
    try:
        from keybed.extract.encoders.torch import device
    except ModuleNotFoundError:
        return [f"the error of bfloat16 was not measured for {names}: torch is not installed here"]
    if not device.fast_bfloat16():
        return [f"the error of bfloat16 was not measured for {names}: this machine has no bfloat16 arithmetic"]
    rows = list(islice(clips, N_CLIPS))
    if not rows:
        return [f"the error of bfloat16 was not measured for {names}: no row of the first recordings can be made"]
    return [_line(spec, machine_paths[f"weights/{spec.name}"], rows) for spec in wanted]


def _line(spec: EncoderSpec, checkpoint_path: str, rows: list[Clip]) -> str:
    try:
        exact = build(replace(spec, compute_dtype="float32"), checkpoint_path).encode(rows)
        rough = build(spec, checkpoint_path).encode(rows)
    except WrongArithmetic as error:  # of this machine: the tasks may run on another kind
        return f"the error of bfloat16 was not measured here: {error}"
    layers, frames = relative_errors(rough, exact)
    return (
        f"{spec.name} in bfloat16 is {percent(layers)} (layers) and {percent(frames)} (frames) off float32, "
        f"measured on {counted(len(rows), 'row')} of this plan"
    )


def planned_clips(
    config: PlanConfig,
    row_plan: RowPlan,
    level_drawn: NDArray[np.float32],
    parsed: Mapping[int, ParsedRecording],
    notes_folder: Path,
    soundfont: Path | None = None,
    bank: Path | None = None,
) -> Iterator[Clip]:
    """One clip of each segment, in the plan's order, its tiers in turn; rows that cannot be made are left out.

    soundfont: the planned one, of several the first. bank: its note bank; None for FluidSynth.
    """
    columns: Mapping[str, Any] = row_plan.order.columns
    _, first = np.unique(columns["segment"], return_index=True)
    renderer, recorder = Renderer(soundfont, bank) if config.audio == "rendered" else None, Recorder()
    for turn, start in enumerate(np.sort(first).tolist()):
        row = start + turn % int((columns["segment"] == columns["segment"][start]).sum())
        recording, start_s = int(columns["recording"][row]), float(columns["start_s"][row])
        if parsed[recording].problem is not None:
            continue
        variant = make_variant(
            prepare(load_notes(notes_folder / f"{recording:05d}.npz")),
            start_s,
            config.window_s,
            level_drawn[row],
            seed=config.seed,
            recording_id=recording,
            tier=int(columns["tier"][row]),
        )
        if renderer is not None:
            made = renderer.render(variant, config.window_s)
        else:
            path = find_file(row_plan.corpus.folder, row_plan.corpus.recordings[recording].audio)
            made = recorder.render(variant, config.window_s, path, start_s)
        if made.status == Status.OK:
            yield Clip(made.audio, made.variant.performance, config.window_s)
