from __future__ import annotations

import numpy as np
import pytest

from keybed.extract.encoders.baselines.contexts import Contexts
from keybed.extract.encoders.baselines.wrong_note_features import (
    HARMONY_CHANNELS,
    HARMONY_CONTEXTS,
    harmony_contexts,
    harmony_measures,
)
from tests.extract.encoders.baselines.notes import Note, performance


def measures(notes: list[Note]) -> dict[str, np.ndarray]:
    return dict(zip(HARMONY_CHANNELS, harmony_measures(performance(notes), 10.0).values.T, strict=True))


def test_a_note_alone_meets_an_even_profile() -> None:
    alone = measures([(1.0, 2.0, 60, 64)])
    assert alone["surprise_bits"] == pytest.approx(np.log2(12))
    assert alone["neighbour_support_log2"] == 0
    assert sum(float(abs(column[0])) for column in alone.values()) == pytest.approx(np.log2(12))


def test_surprise_is_that_of_the_other_notes_weighted_by_length_and_distance() -> None:
    found = measures([(1.0, 1.4, 60, 64), (2.5, 2.7, 67, 64), (4.0, 4.8, 66, 64)])
    # Around the last note: C of 0.4 s at a distance of two sd, G of 0.2 s at one.
    c, g = 0.4 * np.exp(-2), 0.2 * np.exp(-0.5)
    total = 1.1 * (c + g) + 12e-4
    even = 0.1 / 12 * (c + g) + 1e-4
    assert found["surprise_bits"][2] == pytest.approx(-np.log2(even / total))
    assert found["surprise_tail_bits"][2] == pytest.approx(-np.log2(even / total) - 4)
    # F sharp has G as its neighbour.
    assert found["neighbour_support_log2"][2] == pytest.approx(np.log2((g + even) / even))


def test_a_repeated_note_is_expected_and_a_foreign_one_is_not() -> None:
    chord = [(t, t + 0.5, pitch, 64) for t in np.arange(1.0, 8.0, 0.5) for pitch in (60, 64, 67)]
    wrong = [*chord[:20], (chord[20][0], chord[20][1], 66, 64), *chord[21:]]
    surprise = measures(wrong)["surprise_bits"]
    assert surprise[20] > 6
    assert np.delete(surprise, 20).max() < 2.5
    table = np.concatenate(harmony_contexts(harmony_measures(performance(wrong), 10.0), one_bin(wrong)), axis=1)
    window = dict(zip(HARMONY_CONTEXTS, table[-1], strict=True))
    assert window["surprise_max"] == pytest.approx(surprise[20])
    assert window["surprise_p95"] == pytest.approx(np.sort(surprise)[-3])  # of 42 notes, 40 do not exceed it
    assert window["surprise_p75"] < 2


def one_bin(notes: list[Note]) -> Contexts:
    return Contexts(np.array([note[0] for note in notes]), 1, 10.0)


@pytest.mark.parametrize(
    ("semitones", "channel"),
    [(1, "semitone_beside"), (2, "tone_beside"), (11, "seventh_beside"), (13, "seventh_beside")],
)
def test_keys_struck_together_are_told_by_their_distance(semitones: int, channel: str) -> None:
    together = measures([(1.0, 2.0, 60, 64), (1.02, 2.0, 60 + semitones, 64)])
    for name in ("semitone_beside", "tone_beside", "seventh_beside"):
        assert together[name].tolist() == [float(name == channel)] * 2
    apart = measures([(1.0, 1.01, 60, 64), (1.04, 2.0, 60 + semitones, 64)])
    assert apart[channel].tolist() == [0, 0]


def test_a_grazed_key_is_softer_and_shorter_than_the_key_beside_it() -> None:
    grazed = measures([(1.0, 1.8, 60, 80), (1.01, 1.11, 61, 40)])
    assert grazed["softer_adjacent_log2"].tolist() == [0, 1]
    assert grazed["shorter_adjacent_log2"] == pytest.approx([0, 3])
    assert grazed["soft_and_short_adjacent"] == pytest.approx([0, 3])
    third = measures([(1.0, 1.8, 60, 80), (1.01, 1.11, 63, 40)])
    assert third["softer_adjacent_log2"].tolist() == [0, 0]


def test_held_keys_clash_at_a_semitone_a_seventh_and_a_ninth() -> None:
    found = measures([(1.0, 5.0, 60, 64), (2.0, 2.5, 61, 64), (3.0, 3.5, 71, 64), (6.0, 6.5, 61, 64)])
    assert found["semitone_held"].tolist() == [0, 1, 0, 0]
    assert found["seventh_held"].tolist() == [0, 0, 1, 0]
    assert found["surprise_at_semitone_held"].tolist() == [0, found["surprise_bits"][1], 0, 0]


def test_a_key_struck_again_at_once_is_restruck() -> None:
    notes = [(1.0, 1.4, 60, 64), (1.45, 2.0, 60, 64), (2.3, 2.5, 60, 64), (2.31, 2.6, 64, 64)]
    assert measures(notes)["restruck"].tolist() == [0, 1, 0, 0]
