"""Labels of finished rows of real music against a plain recount of their notes, with every axis at work at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from keybed.extract.degrade import CURVES, UNTOUCHED, PreparedRecording, Variant, draw_levels, make_variant, prepare
from keybed.extract.music.midi import read_midi
from keybed.extract.music.performance import Performance
from keybed.store.format.vocabulary import LEVELS
from tests.extract.examples import WINDOW_S

NOTES, TIMING, ARTICULATION, DYNAMICS, EXPRESSION, TEMPO = (
    LEVELS.index(name) for name in ("notes", "timing", "articulation", "dynamics", "expression", "tempo")
)


class Row:
    """One row untouched, finished, and finished but for its wrong notes (each axis draws from a stream of its own)."""

    def __init__(self, prepared: PreparedRecording, recording: int, start_s: float, tier: int) -> None:
        self.start_s, self.whole = start_s, prepared.performance
        aim = draw_levels(0, recording, start_s, tier, "mixed")

        def make(**instead: float) -> Variant:
            level = aim.copy()
            for name, value in instead.items():
                level[LEVELS.index(name)] = value
            return make_variant(prepared, start_s, WINDOW_S, level, seed=0, recording_id=recording, tier=tier)

        self.done = make()
        self.right, self.steady = make(notes=0.0).performance, make(notes=0.0, timing=0.0).performance
        self.was = make(**dict(zip(LEVELS, UNTOUCHED.tolist(), strict=True))).performance
        self.in_window = (self.was.onset_s >= 0) & (self.was.onset_s < WINDOW_S)

    def twin(self, p: Performance) -> np.ndarray:
        """For each untouched note its index in p: each key's strokes keep their order."""
        assert p.n_notes == self.was.n_notes
        mine, theirs = (np.lexsort((q.onset_s, q.pitch)) for q in (self.was, p))
        twin = np.empty(p.n_notes, np.int64)
        twin[mine] = theirs
        assert (p.pitch[twin] == self.was.pitch).all()
        return twin

    def log_length_sd(self, p: Performance) -> float:
        was, twin = self.was, self.twin(p)
        pedal = [was.pedal_value[was.pedal_s <= t][-1:].sum() for t in was.offset_s]
        audible = self.in_window & (was.offset_s < WINDOW_S) & (np.array(pedal) < 64)
        change = np.log((p.offset_s - p.onset_s)[twin] / (was.offset_s - was.onset_s))
        return float(change[audible if audible.sum() > 1 else self.in_window].std())

    def shares_kept(self) -> tuple[float, float]:
        """Of the deviation from the slow trend and of the trend's own arch, fitted together to the velocities' change."""
        apart = (self.was.onset_s[:, None] + self.start_s - self.whole.onset_s[None]) / 1.5
        weight = np.exp(-0.5 * apart**2)
        trend = weight @ self.whole.velocity / weight.sum(1)
        parts = np.stack([self.was.velocity - trend, trend - trend[self.in_window].mean()], 1)[self.in_window]
        change = (self.right.velocity[self.twin(self.right)].astype(float) - self.was.velocity)[self.in_window]
        kept = 1 + np.linalg.lstsq(parts, change, rcond=None)[0]
        return float(kept[0]), float(kept[1])

    def error_mass(self) -> tuple[float, float]:
        """Least and most that the wrong notes weigh, by which note of a chord a stray key is taken to belong to."""
        a, b = self.right, self.done.performance

        def named(p: Performance) -> dict[tuple[float, int, int], int]:
            keys = zip(p.onset_s.tolist(), p.pitch.tolist(), p.velocity.tolist(), strict=True)
            return {key: i for i, key in enumerate(keys)}

        before, after = named(a), named(b)
        gone = [before[key] for key in before if key not in after]
        new = {after[key] for key in after if key not in before}
        mass = 0.0
        for i in gone:
            wrong = {j for j in new if b.onset_s[j] == a.onset_s[i] and b.velocity[j] == a.velocity[i]}
            slips = {j for j in wrong if abs(int(b.pitch[j]) - int(a.pitch[i])) <= 12}
            new -= set(sorted(slips)[:1])
            mass += 1.0 if slips else 0.5
        for key in before.keys() & after.keys():
            i = before[key]
            if b.offset_s[after[key]] < a.offset_s[i]:
                again = {j for j in new if b.pitch[j] == key[1] and a.onset_s[i] < b.onset_s[j] < a.offset_s[i]}
                assert again, "a note was cut short and not struck again"
                new -= again
                mass += 0.5
        least = most = mass
        for j in new:
            near = (a.onset_s > b.onset_s[j] - 0.021) & (a.onset_s < b.onset_s[j] + 0.011)
            near &= (np.abs(a.pitch.astype(int) - int(b.pitch[j])) <= 12) & (a.onset_s >= 0) & (a.onset_s < WINDOW_S)
            loudness = 0.5 * b.velocity[j] / a.velocity[near]
            least, most = least + loudness.min(), most + loudness.max()
        return least, most


@pytest.fixture(scope="module")
def rows(shared_data: Path) -> list[Row]:
    rows = []
    for r, path in enumerate(sorted(shared_data.glob("maestro-mini/*/*.midi"))[::20]):
        prepared = prepare(read_midi(path))
        for start_s in (12.4, 37.2):
            rows += [Row(prepared, r, start_s, tier) for tier in (1, 2, 3)]
    assert len(rows) == 42
    return rows


def score_gap(axis: str, recount: float, label: float) -> float:
    return abs(float(CURVES[axis].score(recount)) - float(CURVES[axis].score(label)))


def test_timing_is_the_sd_of_the_onset_shifts(rows: list[Row]) -> None:
    unmapped = [row for row in rows if row.done.level[TEMPO] == 1.0]
    assert len(unmapped) > 15
    for row in unmapped:
        shift_s = (row.right.onset_s[row.twin(row.right)] - row.was.onset_s)[row.in_window]
        assert 1000 * shift_s.std() == pytest.approx(row.done.level[TIMING], rel=1e-4, abs=1e-4)


def test_articulation_is_the_sd_of_log_length_but_for_keys_that_timing_strikes_early(rows: list[Row]) -> None:
    gaps = []
    for row in rows:
        if not row.done.valid[ARTICULATION] or row.done.level[TEMPO] != 1.0:
            continue
        assert row.log_length_sd(row.steady) == pytest.approx(row.done.level[ARTICULATION], rel=1e-4, abs=1e-6)
        gaps.append(score_gap("articulation", row.log_length_sd(row.right), row.done.level[ARTICULATION]))
    assert len(gaps) > 10
    assert np.mean(gaps) < 0.5
    assert np.percentile(gaps, 90) < 1.0


def test_dynamics_and_expression_are_the_shares_kept_of_deviation_and_arch(rows: list[Row]) -> None:
    gaps: dict[str, list[float]] = {"dynamics": [], "expression": []}
    for row in rows:
        for axis, column, kept in zip(gaps, (DYNAMICS, EXPRESSION), row.shares_kept(), strict=True):
            if row.done.valid[column]:
                gaps[axis].append(score_gap(axis, kept, row.done.level[column]))
    for axis, gap in gaps.items():
        assert len(gap) > 30, axis
        assert np.mean(gap) < 0.3, axis
        assert max(gap) < 3.0, axis


def test_wrong_notes_weigh_what_the_label_says(rows: list[Row]) -> None:
    exact = 0
    for row in rows:
        least, most = row.error_mass()
        labelled = float(row.done.level[NOTES]) * int(row.in_window.sum())
        assert least - 1e-4 <= labelled <= most + 1e-4
        exact += most - least < 1e-9 and labelled > 0
    assert exact > 10
    assert len({row.done.level[NOTES] for row in rows}) > 30
