"""Make rows of a store again from its plan, axis by axis, so that what each axis changed can be told from the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.hearing import changes
from keybed.experiments.hearing.changes import Change
from keybed.extract.audio.waveform import RenderedRow
from keybed.extract.degrade import CURVES, UNTOUCHED
from keybed.extract.degrade.variant import ORDER, Variant
from keybed.extract.music.performance import Performance
from keybed.extract.run.check_recipe import check_same_code, render_config
from keybed.extract.run.row_maker import RowMaker, SegmentJob
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import AXES, LEVELS, TIERS, Status
from keybed.store.read.store import Store

_MEASURED = {
    "notes": changes.notes_change,
    "timing": changes.timing_change,
    "articulation": changes.articulation_change,
    "pedal": changes.pedal_change,
    "dynamics": changes.dynamics_change,
    "expression": changes.expression_change,
}
_PRISTINE = TIERS.index("pristine")


class RowLost(KeybedError):
    """A row of the plan cannot be made on this machine."""


@dataclass(frozen=True, eq=False)
class Stages:
    """The notes of one row before and after each axis; axis -> (before, after). In a pristine row nothing changes."""

    variant: Variant
    pairs: dict[str, tuple[Performance, Performance]]
    window_s: float

    def change(self, axis: str) -> Change:
        """What one axis did in this row."""
        if axis == "tone":
            return changes.tone_change(self.variant.noise)
        before, after = self.pairs[axis]
        return _MEASURED[axis](before, after, self.window_s)

    def marks(self, axis: str) -> tuple[dict[int, int], tuple[changes.Bar, ...]]:
        """Marks by index in the row's notes, and bars where marked notes would be without this axis."""
        if axis == "tone":
            return {}, ()
        return self.change(axis).placed(self.pairs[axis][1], self.variant.performance)


@dataclass(frozen=True)
class PlannedRow:
    """One row of a plan. level_drawn: float32 (8,)."""

    number: int
    recording: int
    start_s: float
    tier: int
    level_drawn: NDArray[np.float32]
    soundfont: int = 0
    room: int = 0
    microphone: tuple[float, ...] = ()

    def job(self, levels: NDArray[np.float32]) -> SegmentJob:
        """The same window and tier once for each row of `levels` (n, 8)."""
        tiers = (self.tier,) * len(levels)
        return SegmentJob(self.recording, self.start_s, tiers, levels, self.soundfont, self.room, self.microphone)


class RowRemaker:
    """Makes rows of one store from its plan alone; needs its soundfont or note bank, or its recordings.

    Raises NotAsPlanned where this version of Keybed degrades otherwise than the plan, or where the sound's files are absent.
    """

    def __init__(self, store: Store, paths: dict[str, str] | None = None) -> None:
        check_same_code(store.recipe)
        self._store = store
        config = render_config(store, {**store.machine_paths, **(paths or {})})
        self._maker = RowMaker(config)
        self.window_s = config.window_s
        self.recorded = config.maestro is not None

    def planned(self, number: int) -> PlannedRow:
        """One row of the plan."""
        columns = self._store.columns(number, number + 1)
        return PlannedRow(
            number,
            int(columns["recording"][0]),
            float(columns["start_s"][0]),
            int(columns["tier"][0]),
            columns["level_drawn"][0],
            int(columns["soundfont"][0]) if "soundfont" in columns else 0,
            int(columns["room"][0]) if "room" in columns else 0,
            tuple(columns["microphone"][0].tolist()) if "microphone" in columns else (),
        )

    def stages(self, row: PlannedRow) -> Stages:
        """The row's notes before and after each axis. Raises RowLost where the row has no notes."""
        levels = [UNTOUCHED]
        done: list[str] = []
        for axis in ORDER[:-1]:
            done.append(axis)
            levels.append(_kept(row.level_drawn, tuple(done)))
        levels.append(row.level_drawn)
        made = self._maker.variants(row.job(np.stack(levels)))
        self._check(made[-1], row)
        notes = [variant.performance for variant in made]
        pairs = {axis: (notes[k], notes[k + 1]) for k, axis in enumerate(ORDER[:-1])}
        pairs["expression"] = (pairs["tempo"][0], pairs["expression"][1])
        pairs["notes"] = (pairs["notes"][0], made[-1].performance)
        return Stages(made[-1], {axis: pairs[axis] for axis in AXES if axis != "tone"}, self.window_s)

    def sound(self, row: PlannedRow, variant: Variant) -> RenderedRow:
        """The row's waveform by the recipe's own renderer. Raises RowLost with the reason, such as an absent recording."""
        rendered = self._maker.render(variant, row.job(row.level_drawn[None]))
        self._check(rendered.variant, row)
        return rendered

    def _check(self, variant: Variant, row: PlannedRow) -> None:
        if variant.status != Status.OK:
            advice = ""
            if variant.status == Status.AUDIO_UNREADABLE:
                advice = "; say where the recordings lie with --maestro FOLDER"
            raise RowLost(f"{self._store.path}, row {row.number}: {variant.reason}{advice}")

    def title(self, row: PlannedRow) -> str:
        """The piece and the place of a row's window, in words."""
        entry = self._store.recordings[row.recording]
        name = entry.get("piece_name") or entry.get("title") or f"recording {row.recording}"
        minutes, seconds = divmod(row.start_s, 60)
        return f"{name}, from {minutes:.0f}:{seconds:04.1f}"


def _kept(levels: NDArray[np.float32], axes: tuple[str, ...]) -> NDArray[np.float32]:
    """Levels (8,) of these axes, the others untouched; tempo goes with expression."""
    names = {*axes, *(("tempo",) if "expression" in axes else ())}
    return np.array([levels[i] if name in names else UNTOUCHED[i] for i, name in enumerate(LEVELS)], np.float32)


def middle_levels(axis: str) -> list[NDArray[np.float32]]:
    """Levels (8,) of one axis at the middle of each tier's band; the others untouched."""
    result = []
    for score in (97.5, 87.5, 72.5, 57.5):
        every = np.array([CURVES[name].level(score) for name in LEVELS], np.float32)
        result.append(_kept(every, (axis,)))
    return result


assert set(_MEASURED) == set(AXES) - {"tone"}
assert ORDER[-1] == "tone"
