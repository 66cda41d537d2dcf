"""Counterfactual twins: a segment untouched, and again with one axis degraded and every other at zero."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from keybed.extract.audio.render import Renderer
from keybed.extract.degrade import CURVES, UNTOUCHED, PreparedRecording, Variant, make_variant, prepare
from keybed.extract.encoders.base import Clip
from keybed.extract.music.notes_file import load_notes
from keybed.extract.processes import process_pool
from keybed.extract.run.row_maker import RenderConfig
from keybed.store.format.vocabulary import AXES, LEVELS, TIERS, Status
from keybed.store.read.store import Store

LEVEL_SCORES = (87.5, 72.5, 57.5)
"""Each axis is degraded to the middle of the good, moderate and poor tiers' bands."""


@dataclass(frozen=True)
class Counterfactual:
    """One twin of a segment. axis: index into AXES, None for the untouched twin. score: of the degraded axis."""

    notes: Path
    recording: int
    piece: int
    start_s: float
    axis: int | None
    score: float

    @property
    def levels(self) -> np.ndarray:
        """Levels to apply, float32 (8,): untouched but for the one axis (and tempo with expression)."""
        levels = UNTOUCHED.copy()
        if self.axis is not None:
            for name in ("expression", "tempo") if AXES[self.axis] == "expression" else (AXES[self.axis],):
                levels[LEVELS.index(name)] = CURVES[name].level(self.score)
        return levels


@dataclass(frozen=True, eq=False)
class RenderedTwin:
    """One twin as an encoder gets it. level: realised, per axis; valid: dimensions that the window can show."""

    of: Counterfactual
    clip: Clip
    level: np.ndarray
    valid: np.ndarray


def choose_segments(store: Store, n_segments: int, seed: int) -> list[tuple[int, int, float]]:
    """(recording, piece, start_s) of up to n train segments, taken from every piece in turn, in a seeded order.

    Only the train split: what is chosen with them (states, bins, statistics) must not depend on test pieces.
    """
    start, stop = store.splits["train"]
    columns = store.columns(start, stop)
    pristine = np.flatnonzero(columns["tier"] == TIERS.index("pristine"))
    rng = np.random.default_rng(seed)
    queues = {}
    for piece in np.unique(columns["piece"][pristine]):
        queues[piece] = list(rng.permutation(pristine[columns["piece"][pristine] == piece]))
    chosen: list[int] = []
    while queues and len(chosen) < n_segments:
        for piece in rng.permutation(list(queues)):
            chosen.append(int(queues[piece].pop()))
            if not queues[piece]:
                del queues[piece]
    return [
        (int(columns["recording"][i]), int(columns["piece"][i]), float(columns["start_s"][i]))
        for i in chosen[:n_segments]
    ]


def family(store: Store, segment: tuple[int, int, float]) -> list[Counterfactual]:
    """The untouched segment first, then every axis at every level: 1 + 7 × 3."""
    recording, piece, start_s = segment
    notes = store.notes_path(recording)
    twins = [Counterfactual(notes, recording, piece, start_s, None, 97.5)]
    return twins + [
        Counterfactual(notes, recording, piece, start_s, axis, score)
        for axis in range(len(AXES))
        for score in LEVEL_SCORES
    ]


def render_families(
    families: Sequence[Sequence[Counterfactual]], *, rendering: RenderConfig, workers: int
) -> Iterator[list[RenderedTwin] | None]:
    """Degrade and render each family, in order; None where a twin cannot be made (no notes, silence).

    Worker processes render; only a few families are in memory at a time.
    """
    with process_pool(workers, task="renders twins", advice="give more memory or fewer --workers") as pool:
        waiting = []
        for members in families:
            waiting.append(pool.submit(_render, list(members), rendering))
            if len(waiting) > 2 * workers:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def _render(members: list[Counterfactual], rendering: RenderConfig) -> list[RenderedTwin] | None:
    twins = []
    renderer = Renderer(rendering.soundfont, rendering.bank)
    for member in members:
        variant = _variant(member, rendering.seed, rendering.window_s)
        sound = renderer.render(variant, rendering.window_s)
        if variant.status != Status.OK or sound.status != Status.OK:
            return None
        music = rendering.music.get(member.recording)
        clip = Clip(sound.audio, variant.performance, rendering.window_s, music=music)
        twins.append(RenderedTwin(member, clip, variant.level, variant.valid))
    return twins


def _variant(member: Counterfactual, seed: int, window_s: float) -> Variant:
    return make_variant(
        _prepared(member.notes),
        member.start_s,
        window_s,
        member.levels,
        seed=seed,
        recording_id=member.recording,
        tier=TIERS.index("pristine" if member.axis is None else "poor"),
    )


@lru_cache(maxsize=4)
def _prepared(notes: Path) -> PreparedRecording:
    return prepare(load_notes(notes))
