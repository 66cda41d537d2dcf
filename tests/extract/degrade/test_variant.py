from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keybed.extract.degrade import (
    CURVES,
    UNTOUCHED,
    Variant,
    draw_levels,
    make_variant,
    prepare,
    unlabelled_variant,
)
from keybed.extract.degrade.dither import DITHER_S, LARGEST_DITHER
from keybed.extract.degrade.labels import OVERALL_WEIGHTS
from keybed.extract.music.midi import read_midi
from keybed.extract.music.performance import Performance
from keybed.store.format.vocabulary import AXES, COVARIATES, DIMENSIONS, LEVELS, Status
from tests.extract.examples import WINDOW_S, performances, steady
from tests.extract.playability import problems

FIELDS = tuple(Performance.__dataclass_fields__)


def make(p: Performance, level: np.ndarray, *, start_s: float = 0.0, tier: int = 3, seed: int = 0) -> Variant:
    return make_variant(prepare(p), start_s, WINDOW_S, level, seed=seed, recording_id=1, tier=tier)


def only(**levels: float) -> np.ndarray:
    level = UNTOUCHED.copy()
    for name, value in levels.items():
        level[LEVELS.index(name)] = value
    return level


WORST = np.array([CURVES[name].level(50.0) for name in LEVELS], np.float32)


def test_a_pristine_row_is_the_untouched_notes_but_for_dither() -> None:
    p = steady(n=300)
    v = make(p, WORST, start_s=6.2, tier=0)
    kept = (p.onset_s < 16.2) & (p.onset_s > 4.2 - 0.5)
    inside = v.performance.onset_s >= -2
    np.testing.assert_allclose(
        v.performance.onset_s[inside] + 6.2, p.onset_s[(p.onset_s >= 4.2) & kept], atol=LARGEST_DITHER * DITHER_S
    )
    moved = v.performance.velocity[inside].astype(int) - p.velocity[(p.onset_s >= 4.2) & kept]
    assert set(moved.tolist()) == {-1, 0, 1}
    np.testing.assert_array_equal(v.score, np.full(8, 97.5, np.float32))
    np.testing.assert_array_equal(v.level, UNTOUCHED)
    assert v.status == Status.OK
    assert v.noise.ratio == 0


def test_an_untouched_degraded_row_is_pristine_too() -> None:
    p = steady(n=300)
    a, b = make(p, UNTOUCHED, tier=0), make(p, UNTOUCHED, tier=2)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(a.performance, name), getattr(b.performance, name))
    np.testing.assert_array_equal(a.score, b.score)


@pytest.mark.parametrize("axis", AXES)
def test_an_axis_at_zero_stays_at_97_5_whatever_the_others_do(axis: str) -> None:
    level = WORST.copy()
    level[LEVELS.index(axis)] = CURVES[axis].untouched
    if axis == "expression":
        level[LEVELS.index("tempo")] = 1.0
    for seed in range(4):
        v = make(steady(n=300), level, start_s=3.0, seed=seed)
        assert v.level[AXES.index(axis)] == CURVES[axis].untouched
        assert v.score[AXES.index(axis)] == 97.5


@pytest.mark.parametrize("axis", AXES)
def test_axes_do_not_disturb_each_others_level(axis: str) -> None:
    i = LEVELS.index(axis)
    for score in (90.0, 72.5, 57.5):
        alone, together = only(**{axis: float(CURVES[axis].level(score))}), WORST.copy()
        together[i] = alone[i]
        p = steady(n=300)
        a, b = make(p, alone, start_s=3.0), make(p, together, start_s=3.0)
        assert a.score[i] == pytest.approx(score, abs=1.0)
        assert b.score[i] == pytest.approx(a.score[i], abs=1.0)


def test_the_score_is_the_inverse_curve_of_the_realised_level() -> None:
    v = make(steady(n=300), WORST, start_s=3.0)
    for i, axis in enumerate(AXES[:6]):
        assert v.score[i] == pytest.approx(float(CURVES[axis].score(float(v.level[i]))), abs=1e-4)
    loud = float(CURVES["expression"].score(float(v.level[6])))
    beat = float(CURVES["tempo"].score(float(v.level[7])))
    assert v.score[6] == pytest.approx((loud + beat) / 2 if v.level[7] < 1 else loud, abs=1e-4)
    weight = np.array([OVERALL_WEIGHTS[name] for name in DIMENSIONS[:7]]) * v.valid[:7]
    assert v.score[7] == pytest.approx(np.sum(weight * v.score[:7]) / weight.sum(), abs=1e-3)


def test_a_dimension_with_too_little_to_show_is_invalid_in_all_tiers() -> None:
    p = steady(n=15, every_s=0.6)
    for tier in range(4):
        v = make(p, WORST, tier=tier)
        valid = dict(zip(DIMENSIONS, v.valid.tolist(), strict=True))
        assert not valid["note_accuracy"]
        assert not valid["rhythmic_stability"]
        assert valid["tone_quality"]
        assert valid["pedal_technique"]
        assert not valid["overall_interpretation"]
    assert make(steady(n=300), WORST).valid.all()


def test_a_window_without_notes_has_status_no_notes() -> None:
    v = make(steady(n=20), WORST, start_s=50.0)
    assert v.status == Status.NO_NOTES
    assert "50.00 s" in v.reason
    assert np.isnan(v.score).all()
    assert np.isnan(v.level).all()
    assert not v.valid.any()
    assert v.n_notes == 0


@pytest.mark.parametrize("tier", [1, 2, 3])
def test_one_note_is_enough_to_make_a_row(tier: int) -> None:
    one = Performance(np.array([3.0]), np.array([3.5]), np.array([60], np.int16), np.array([70], np.int16))
    v = make(one, WORST, tier=tier)
    assert v.status == Status.OK
    assert v.n_notes >= 1
    assert np.isfinite(v.score).all()
    assert not v.valid[:4].any()


def test_what_sounds_into_the_window_comes_along_with_the_pedal_in_force() -> None:
    p = Performance(
        onset_s=np.array([1.0, 2.0, 3.0, 9.0, 12.0]),
        offset_s=np.array([1.5, 30.0, 3.5, 9.2, 12.5]),
        pitch=np.array([50, 52, 54, 56, 58], np.int16),
        velocity=np.full(5, 70, np.int16),
        pedal_s=np.array([0.5, 1.7, 2.9, 11.0]),
        pedal_value=np.array([100, 10, 90, 20], np.int16),
    )
    v = make(p, UNTOUCHED, start_s=10.0, tier=0)
    # 50 fell silent with the pedal's lift at 1.7; 54 is held by the pedal of 2.9; 52 by its key; 56 is in the pre-roll.
    assert v.performance.pitch.tolist() == [52, 54, 56, 58]
    assert v.performance.pedal_s.tolist() == pytest.approx([-2.0, 1.0], abs=LARGEST_DITHER * DITHER_S)
    assert v.performance.pedal_value.tolist() == [90, 20]


def test_a_key_struck_often_before_the_pre_roll_sounds_once() -> None:
    onset = np.arange(0.0, 8.0, 0.5)
    p = Performance(
        onset,
        onset + 0.2,
        np.full(16, 60, np.int16),
        np.full(16, 70, np.int16),
        np.array([0.0]),
        np.array([127], np.int16),
    )
    p = Performance(
        *(np.append(getattr(p, n), x) for n, x in zip(FIELDS[:4], (12.0, 12.5, 62, 70), strict=True)),
        p.pedal_s,
        p.pedal_value,
    )
    v = make(p, UNTOUCHED, start_s=10.0, tier=0)
    assert v.performance.onset_s.tolist() == pytest.approx([-2.5, 2.0], abs=LARGEST_DITHER * DITHER_S)


@settings(max_examples=150, deadline=None)
@given(
    p=performances(),
    start_s=st.sampled_from([0.0, 1.0, 6.2]),
    scores=st.lists(st.floats(50, 97.5), min_size=8, max_size=8),
    tier=st.integers(0, 3),
)
def test_whatever_valid_notes_come_in_valid_notes_come_out(
    p: Performance, start_s: float, scores: list[float], tier: int
) -> None:
    level = np.array([CURVES[name].level(s) for name, s in zip(LEVELS, scores, strict=True)], np.float32)
    v = make(p, level, start_s=start_s, tier=tier)
    assert list(problems(v.performance)) == []
    assert v.level.shape == (8,)
    assert v.score.shape == v.valid.shape == (8,)
    assert v.difficulty.shape == (len(COVARIATES),)
    if v.status == Status.OK:
        assert v.n_notes > 0
        assert np.isfinite(v.score).all()
        assert np.isfinite(v.level).all()
        assert np.isfinite(v.difficulty).all()
        assert ((v.score >= 50) & (v.score <= 97.5)).all()
        assert (v.performance.onset_s < WINDOW_S).all()
    else:
        assert v.status == Status.NO_NOTES


def test_realised_levels_follow_the_drawn_ones_on_real_music(shared_data: Path) -> None:
    drawn, level, valid = [], [], []
    for r, path in enumerate(sorted(shared_data.glob("maestro-mini/*/*.midi"))[::35]):
        prepared = prepare(read_midi(path))
        for start_s in np.arange(0.0, prepared.performance.offset_s[-1] - WINDOW_S, 23.0):
            for tier in (1, 2, 3):
                aim = draw_levels(0, r, float(start_s), tier, "mixed")
                v = make_variant(prepared, float(start_s), WINDOW_S, aim, seed=0, recording_id=r, tier=tier)
                if v.status == Status.OK:
                    drawn.append(aim)
                    level.append(v.level)
                    valid.append(v.valid)
    d, x, ok = np.array(drawn, float), np.array(level, float), np.array(valid)
    assert len(d) > 100
    assert ok.mean(0).min() > 0.6
    for i, axis in enumerate(AXES):
        mine = ok[:, i]
        aimed, got = (CURVES[axis].score(column[mine, i]) for column in (d, x))
        assert np.corrcoef(aimed, got)[0, 1] > 0.995, axis
        assert np.abs(aimed - got).mean() < 0.5, axis


def digest(seed: int) -> str:
    import hashlib

    h = hashlib.sha256()
    for tier in range(4):
        v = make(steady(n=300), draw_levels(seed, 1, 3.1, tier, "mixed"), start_s=3.1, tier=tier, seed=seed)
        for name in FIELDS:
            h.update(getattr(v.performance, name).tobytes())
        for array in (v.level, v.score, v.valid, v.difficulty):
            h.update(array.tobytes())
    return h.hexdigest()


def test_the_same_bytes_in_any_order_and_process() -> None:
    a, b, again = digest(1), digest(2), digest(1)
    assert a == again != b
    code = "from tests.extract.degrade.test_variant import digest; print(digest(1))"
    root = Path(__file__).resolve().parents[3]
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert other.stdout.strip() == a


def test_difficulty_is_that_of_the_undegraded_window_in_every_tier() -> None:
    onset = np.repeat(np.arange(0.0, 10.0, 0.5), 4)
    n = onset.size
    p = Performance(
        onset,
        onset + 0.4,
        np.tile([36, 43, 64, 76], n // 4).astype(np.int16),
        np.tile([40, 60, 80, 100], n // 4).astype(np.int16),
    )
    untouched, worst = make(p, UNTOUCHED, tier=0), make(p, WORST)
    assert untouched.difficulty[COVARIATES.index("note_rate_hz")] == 8.0
    np.testing.assert_array_equal(worst.difficulty, untouched.difficulty)


def test_a_row_that_fails_after_degradation_keeps_its_labels_and_no_valid_dimension() -> None:
    made = make(steady(n=300), WORST, start_s=3.0)
    failed = made.failed(Status.SILENT_AUDIO, "silent")
    assert (failed.status, failed.reason, failed.valid.tolist()) == (Status.SILENT_AUDIO, "silent", [False] * 8)
    assert failed.n_notes == made.n_notes
    np.testing.assert_array_equal(failed.score, made.score)
    assert made.valid.any()


def test_a_row_that_fails_before_degradation_has_no_label() -> None:
    failed = unlabelled_variant(2, Status.MIDI_UNREADABLE, "an empty file")
    assert (failed.status, failed.reason, failed.tier, failed.n_notes) == (
        Status.MIDI_UNREADABLE,
        "an empty file",
        2,
        0,
    )
    assert [np.isnan(part).all() and part.size for part in (failed.level, failed.score, failed.difficulty)] == [8, 8, 6]
    assert not failed.valid.any()
    assert failed.performance.n_notes == 0
