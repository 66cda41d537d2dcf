"""The words and marks of what an axis changed, on notes that are changed by hand."""

from dataclasses import replace

import numpy as np
import pytest

from keybed.experiments.hearing.changes import (
    CHANGED,
    LOUDER,
    SOFTER,
    WRONG,
    articulation_change,
    dynamics_change,
    expression_change,
    notes_change,
    pedal_change,
    pedal_displacement,
    timing_change,
    tone_change,
)
from keybed.experiments.hearing.matching import match_notes, match_times
from keybed.extract.degrade.tone import Noise
from keybed.extract.music.performance import Performance

WINDOW_S = 10.0


def notes(*rows, pedal=()):
    """Rows (onset_s, offset_s, pitch, velocity) in any order; pedal (at, value)."""
    on, off, pitch, velocity = (np.array(column) for column in zip(*sorted(map(tuple, rows)), strict=True))
    at, value = (np.array(column) for column in zip(*pedal, strict=True)) if pedal else (np.zeros(0), np.zeros(0))
    return Performance(
        on.astype(float),
        off.astype(float),
        pitch.astype(np.int16),
        velocity.astype(np.int16),
        at,
        value.astype(np.int16),
    )


SCALE = [(0.5 * k, 0.5 * k + 0.4, 60 + k, 64) for k in range(12)]
BEFORE = notes(*SCALE)


def test_wrong_extra_left_out_and_struck_twice_are_told_apart():
    rows = [list(row) for row in SCALE]
    rows[2][2] = 63  # 62 becomes 63: a wrong key
    del rows[9]  # 69 is left out
    rows[6][1] = 3.15  # 66 is struck twice
    after = notes(*rows, (3.2, 3.4, 66, 60), (4.01, 4.1, 80, 30))  # and 80 is extra
    change = notes_change(BEFORE, after, WINDOW_S)
    assert change.sentence == "1 wrong key, 1 extra note, 1 note struck twice, 1 note left out, of 12 notes"
    marked = {(round(float(after.onset_s[j]), 2), int(after.pitch[j])) for j in change.marks}
    assert marked == {(1.0, 63), (3.2, 66), (4.01, 80)}
    assert set(change.marks.values()) == {WRONG}
    assert change.missing == ((4.5, 4.9, 69),)


def test_a_wrong_key_that_another_note_plays_later_is_still_found():
    """62 played as 64 half a second before the true 64: matching by order alone would shift every 64."""
    rows = [list(row) for row in SCALE]
    rows[2][2] = 64
    change = notes_change(BEFORE, notes(*rows), WINDOW_S)
    assert change.sentence == "1 wrong key, of 12 notes"


def test_nothing_changed_is_said_so_on_every_axis():
    pedalled = replace(BEFORE, pedal_s=np.array([0.0, 1.0, 2.0]), pedal_value=np.array([100, 0, 100], np.int16))
    assert notes_change(BEFORE, BEFORE, WINDOW_S).sentence == "no wrong note, of 12 notes"
    assert timing_change(BEFORE, BEFORE, WINDOW_S).sentence == "none of 12 onsets moved by more than 40 ms"
    assert articulation_change(BEFORE, BEFORE, WINDOW_S).sentence == (
        "none of 12 notes shorter and none longer by a factor of 1.25 or more"
    )
    assert dynamics_change(BEFORE, BEFORE, WINDOW_S).sentence == (
        "none of 12 notes louder and none softer by 8 or more velocity steps"
    )
    assert expression_change(BEFORE, BEFORE, WINDOW_S).sentence.endswith("; tempo as it was")
    assert pedal_change(pedalled, pedalled, WINDOW_S).sentence == "none of 1 pedal change spoiled"
    assert pedal_change(BEFORE, BEFORE, WINDOW_S).sentence == "no pedal change in this window"
    assert tone_change(Noise()).sentence == "no noise added"


def test_onsets_are_counted_from_40_ms_and_their_old_places_are_kept():
    shift = np.zeros(12)
    shift[[1, 4, 7]] = (0.041, -0.120, 0.039)
    after = replace(BEFORE, onset_s=BEFORE.onset_s + shift, offset_s=BEFORE.offset_s + shift)
    change = timing_change(BEFORE, after, WINDOW_S)
    sd_ms = 1000 * shift.std()
    assert change.sentence == f"2 of 12 onsets moved by more than 40 ms, the furthest by 120 ms; sd {sd_ms:.0f} ms"
    assert change.marks == {1: CHANGED, 4: CHANGED}
    marks, bars = change.placed(after, after)
    assert marks == change.marks
    assert bars == (pytest.approx((0.5, 0.9, 61)), pytest.approx((2.0, 2.4, 64)))


def test_marks_follow_their_notes_through_later_axes():
    after = replace(BEFORE, offset_s=BEFORE.offset_s - np.where(np.arange(12) == 5, 0.2, 0.0))
    change = articulation_change(BEFORE, after, WINDOW_S)
    assert change.sentence == "1 of 12 notes shorter and none longer by a factor of 1.25 or more"
    later = [list(row) for row in zip(after.onset_s, after.offset_s, after.pitch, after.velocity, strict=True)]
    later[5][0] += 0.06
    later[5][1] += 0.06
    final = notes((0.1, 0.3, 90, 40), *later)  # one more note before, and note 5 moved by 60 ms
    marks, bars = change.placed(after, final)
    assert marks == {6: CHANGED}
    assert int(final.pitch[6]) == 65
    assert bars == (pytest.approx((2.56, 2.96, 65)),)  # as long as it was, from where it is struck now


def test_loudness_is_counted_from_8_steps_both_ways():
    velocity = BEFORE.velocity + np.array([0, 8, -8, 7, -7, 20] + [0] * 6, np.int16)
    change = dynamics_change(BEFORE, replace(BEFORE, velocity=velocity), WINDOW_S)
    assert change.sentence == "2 of 12 notes louder and 1 softer by 8 or more velocity steps, at most 20"
    assert change.marks == {1: LOUDER, 5: LOUDER, 2: SOFTER}


def test_flattened_tempo_is_told_in_onsets():
    after = replace(BEFORE, onset_s=BEFORE.onset_s * 1.1, offset_s=BEFORE.offset_s * 1.1)
    change = expression_change(BEFORE, after, WINDOW_S)
    assert change.sentence == (
        "none of 12 notes louder and none softer by 8 or more velocity steps; "
        "11 of 12 onsets moved by more than 40 ms, the furthest by 550 ms"
    )


@pytest.mark.parametrize(
    ("moved_s", "words"),
    [
        (0.09, "none of 2 pedal changes spoiled"),
        (0.1, "1 of 2 pedal changes spoiled: 0.1 s or more too early or too late, at most 0.1 s"),
        (0.56, "1 of 2 pedal changes spoiled: 0.1 s or more too early or too late, at most 0.6 s"),
    ],
)
def test_a_pedal_change_is_spoiled_from_a_tenth_of_a_second(moved_s, words):
    pedal = [(0.0, 100), (2.0, 0), (2.2, 100), (5.0, 0), (5.2, 100)]
    late = [(at + moved_s if at == 2.2 else at, value) for at, value in pedal]
    before, after = notes(*SCALE, pedal=pedal), notes(*SCALE, pedal=late)
    assert pedal_change(before, after, WINDOW_S).sentence == words
    assert pedal_displacement(before, after, WINDOW_S) == pytest.approx([moved_s, 0.0])


def test_a_pedal_change_outside_the_window_does_not_count_and_a_lost_one_does():
    before = notes(*SCALE, pedal=[(0.0, 100), (3.0, 0), (3.3, 100), (11.0, 0)])
    after = notes(*SCALE, pedal=[(0.0, 100), (11.0, 0)])
    assert pedal_displacement(before, after, WINDOW_S) == pytest.approx([1.0])


def test_tone_is_told_in_decibels():
    words = tone_change(Noise(ratio=10 ** (-25 / 20), slope_db_per_octave=-3.0, band_hz=(100.0, 5000.0))).sentence
    assert words == "pink noise, 25 dB below the music; filtered to 100–5,000 Hz"


def test_matching_is_that_of_every_order_keeping_choice():
    """Against all choices of pairs, on short lists."""
    from itertools import combinations

    rng = np.random.default_rng(0)
    for _ in range(60):
        one, other = np.sort(rng.uniform(0, 3, rng.integers(0, 5))), np.sort(rng.uniform(0, 3, rng.integers(0, 5)))
        best = min(
            sum(abs(one[i] - other[j]) for i, j in zip(a, b, strict=True)) + 0.5 * (one.size + other.size - 2 * k)
            for k in range(min(one.size, other.size) + 1)
            for a in combinations(range(one.size), k)
            for b in combinations(range(other.size), k)
        )
        pairs = match_times(one, other)
        cost = sum(abs(one[i] - other[j]) for i, j in pairs) + 0.5 * (one.size + other.size - 2 * len(pairs))
        assert cost == pytest.approx(best)


def test_performances_of_no_note_match_nothing():
    matching = match_notes(Performance.empty(), BEFORE)
    assert matching.first.size == 0
    assert matching.added.tolist() == list(range(12))
