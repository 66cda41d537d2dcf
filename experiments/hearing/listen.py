"""`keybed listen`: one page on which a store's degradations can be heard and seen, axis by axis.

    keybed listen STORE --out DIR

For each axis it takes one segment whose rows differ on that axis, makes these rows again from the plan with the recipe's own
renderer, and compares their notes before and after each axis. Only the plan is read, so a store need not be filled.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.hearing.config import ListenConfig
from keybed.experiments.hearing.listen_page import Clip, HeardAxis, write_listen_page
from keybed.experiments.hearing.row_remaking import PlannedRow, RowLost, RowRemaker, middle_levels
from keybed.experiments.hearing.segment_choice import segments_for
from keybed.experiments.hearing.sound import flac_bytes
from keybed.extract.progress import Progress, silent
from keybed.store.command import command
from keybed.store.counted import counted
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import AXES, TIERS
from keybed.store.read.opening import open_store
from keybed.store.read.store import Store

TRIED = 200
"""Segments to look through for one whose window can show an axis."""


class CannotListen(KeybedError):
    """The page cannot be made with these arguments, or from this store."""


@dataclass(frozen=True)
class ListenReport:
    """What was written. without: axes that no segment of the store can show."""

    page: Path
    n_clips: int
    sound_bytes: int
    seconds: float
    without: tuple[str, ...]

    def lines(self) -> list[str]:
        """The report in words, one line each."""
        size = self.page.stat().st_size / 1e6
        lines = [
            f"{counted(self.n_clips, 'clip')}, {self.sound_bytes / 1e6:.1f} MB of FLAC inside a page of {size:.1f} MB, in "
            f"{self.seconds:.1f} s: {self.page}"
        ]
        if self.without:
            lines.append(f"left out, because no window that was looked at can show it: {', '.join(self.without)}")
        return [*lines, "next: open it in a browser; it needs no network"]


def listen(config: ListenConfig, progress: Progress = silent) -> ListenReport:
    """Write DIR/index.html.

    Raises CannotListen for rows of ratings without --alone, an unknown axis, an axis that the store's audio does not carry, and a store without any axis to hear;
    RowLost where a recording is absent; NotAsPlanned for another degradation code, soundfont or corpus folder.
    """
    began = time.perf_counter()
    store = open_store(config.store)
    if store.recipe.labels is not None and not config.alone:
        raise CannotListen(
            f"{store.path} holds ratings by people: none of its rows is degraded, so there is nothing to compare; "
            f"`{command('listen', store.path, '--out', config.out, '--alone')}` degrades them one axis at a time"
        )
    axes = _axes(store, config.axes)
    remaker = RowRemaker(store, dict(config.paths))
    if config.out.exists() and not config.out.is_dir():
        raise CannotListen(f"--out {config.out} is a file; give a folder")
    heard, without = [], []
    for done, axis in enumerate(axes):
        progress("axes", done, len(axes))
        made = _hear(store, remaker, axis, config)
        if made is None:
            without.append(axis)
        else:
            heard.append(made)
    progress("axes", len(axes), len(axes))
    if not heard:
        raise CannotListen(
            f"{store.path}: no segment that was looked at can show {', '.join(axes)}; try another --seed"
        )
    try:
        config.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotListen(
            f"--out {config.out} cannot be written ({error.strerror or error}); give another folder"
        ) from error
    page = write_listen_page(store, heard, config, config.out / "index.html")
    clips = [clip for axis in heard for clip in axis.clips]
    size = sum(len(clip.sound) for clip in clips)
    return ListenReport(page, len(clips), size, time.perf_counter() - began, tuple(without))


def _axes(store: Store, asked: tuple[str, ...] | None) -> tuple[str, ...]:
    recorded = store.recipe.audio["source"] == "recorded"
    if asked is None:
        return ("tone",) if recorded else AXES
    unknown = [axis for axis in asked if axis not in AXES]
    if unknown:
        raise CannotListen(f"--axis {', '.join(unknown)}: choose of {', '.join(AXES)}")
    silent_axes = [axis for axis in asked if recorded and axis != "tone"]
    if silent_axes:
        raise CannotListen(
            f"--axis {', '.join(silent_axes)}: the audio of {store.path} is the real recording, in which only tone can be heard; "
            "plan a store with --audio rendered to hear the others"
        )
    return tuple(dict.fromkeys(asked))


def _hear(store: Store, remaker: RowRemaker, axis: str, config: ListenConfig) -> HeardAxis | None:
    """The best segment by the seed whose window can show the axis; None where none can."""
    for numbers in segments_for(store, axis, config.seed)[:TRIED]:
        rows = _rows(remaker, numbers, axis, config.alone)
        try:
            stages = [remaker.stages(row) for row in rows]
        except RowLost:
            continue  # a window without notes
        if not all(stage.variant.valid[AXES.index(axis)] for stage in stages):
            continue
        clips = []
        for row, stage in zip(rows, stages, strict=True):
            audio = remaker.sound(row, stage.variant).audio
            clips.append(Clip(row, stage, flac_bytes(audio)))
        return HeardAxis(axis, remaker.title(rows[0]), tuple(clips))
    return None


def _rows(remaker: RowRemaker, numbers: NDArray[np.int64], axis: str, alone: bool) -> list[PlannedRow]:
    planned = [remaker.planned(int(number)) for number in numbers]
    if not alone:
        return planned
    first = planned[0]
    return [
        replace(first, tier=tier, level_drawn=levels)
        for tier, levels in zip(range(len(TIERS)), middle_levels(axis), strict=True)
    ]
