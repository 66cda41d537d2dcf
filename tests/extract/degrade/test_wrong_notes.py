from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keybed.extract.degrade.wrong_notes import NoteErrors, add_wrong_notes
from keybed.extract.music.harmony import local_key, scale_of
from keybed.extract.music.midi import read_midi
from keybed.extract.music.performance import Performance, playable
from tests.extract.examples import WINDOW_S, performances, steady
from tests.extract.playability import problems

WEIGHTS = {"substitution": 1.0, "omission": 0.5, "stutter": 0.5}


def make(p: Performance, rate: float, seed: int = 0) -> NoteErrors:
    return add_wrong_notes(p, rate, WINDOW_S, np.random.default_rng(seed))


def recount(p: Performance, errors: NoteErrors) -> float:
    """The weights again, from the notes alone: what is new, what is gone, how loud, over the notes there were."""
    total = 0.0
    for error in errors.errors:
        if error.kind in WEIGHTS:
            total += WEIGHTS[error.kind]
            continue
        q = errors.performance
        at = (q.pitch == error.pitch) & (np.abs(q.onset_s - p.onset_s[error.note]) < 0.021)
        loudness = q.velocity[at] / p.velocity[error.note]
        total += 0.5 * float(loudness[np.argmin(np.abs(0.5 * loudness - error.weight))])
    return total / int(((p.onset_s >= 0) & (p.onset_s < WINDOW_S)).sum())


@pytest.mark.parametrize("rate", [0.002, 0.005, 0.02, 0.05, 0.065])
def test_the_rate_is_met_and_is_what_a_recount_finds(rate: float) -> None:
    p = steady(n=90, every_s=0.11)
    for seed in range(8):
        errors = make(p, rate, seed)
        assert errors.rate == pytest.approx(rate, abs=0.0006)
        assert errors.rate == pytest.approx(recount(p, errors), rel=1e-9)
        assert list(problems(errors.performance)) == []


def test_light_levels_are_grazes_alone() -> None:
    p = steady()
    kinds = {error.kind for seed in range(20) for error in make(p, 0.005, seed).errors}
    assert kinds == {"graze"}


def test_half_of_the_mass_clashes_and_omissions_stay_few() -> None:
    p = steady(n=100)
    p = replace(p, offset_s=p.onset_s + np.where(np.diff(p.pitch, append=0) == 0, 0.09, 0.3))
    p = playable(*(getattr(p, name) for name in Performance.__dataclass_fields__))
    kinds: dict[str, float] = {}
    for seed in range(40):
        errors = make(p, 0.05, seed).errors
        mass = sum(s.weight for s in errors)
        assert sum(s.weight for s in errors if s.clash) >= 0.5 * mass - 1e-9
        assert sum(s.weight for s in errors if s.kind == "omission") <= 0.2 * mass + 0.05
        for s in errors:
            kinds[s.kind] = kinds.get(s.kind, 0.0) + s.weight
    assert set(kinds) == {"substitution", "insertion", "graze", "stutter", "omission"}
    assert kinds["substitution"] > 0.3 * sum(kinds.values())


def test_errors_marked_as_clashing_clash_with_the_notes() -> None:
    p = steady(n=100)
    scale = scale_of(*local_key(p.pitch, p.offset_s - p.onset_s))
    for seed in range(10):
        for error in make(p, 0.05, seed).errors:
            if error.kind in ("graze", "insertion") and error.clash:
                at = p.onset_s[error.note]
                near = (p.onset_s < at + 0.13) & (p.offset_s > at - 0.02)
                interval = np.abs(p.pitch[near].astype(int) - error.pitch)
                assert error.pitch % 12 not in scale or np.isin(interval, [1, 11, 13]).any()


def test_notes_outside_the_window_stay_as_they_are() -> None:
    p = steady(n=140, start_s=-1.9)
    q = make(p, 0.065).performance
    before, after = p.onset_s < 0, q.onset_s < 0
    assert p.pitch[before].tolist() == q.pitch[after].tolist()
    np.testing.assert_array_equal(p.onset_s[before], q.onset_s[after])
    outside = p.onset_s >= WINDOW_S
    assert p.pitch[outside].tolist() == q.pitch[q.onset_s >= WINDOW_S].tolist()


@settings(max_examples=60, deadline=None)
@given(p=performances(), rate=st.floats(0, 0.3), seed=st.integers(0, 1000))
def test_whatever_is_played_stays_playable(p: Performance, rate: float, seed: int) -> None:
    errors = make(p, rate, seed)
    assert list(problems(errors.performance)) == []
    # The last error may overshoot by its own weight, at most 1: 0.05 per note where a window is scored (20 notes and more).
    struck = int(((p.onset_s >= 0) & (p.onset_s < WINDOW_S)).sum())
    assert 0.0 <= errors.rate <= rate + max(0.05, 1.0 / max(struck, 1))


def test_a_real_window_of_median_density_realises_its_level(shared_data: Path) -> None:
    path = sorted(shared_data.glob("maestro-mini/*/*.midi"))[3]
    whole = read_midi(path)
    some = (whole.onset_s >= 30) & (whole.onset_s < 40)
    p = Performance(whole.onset_s[some] - 30, whole.offset_s[some] - 30, whole.pitch[some], whole.velocity[some])
    for rate in (0.003, 0.01, 0.03, 0.06):
        assert make(p, rate).rate == pytest.approx(rate, abs=0.001)
