from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from keybed.extract.encoders.baselines.articulation_features import (
    AUDIBLE_CHANNELS,
    LENGTH_CHANNELS,
    VOICE_CHANNELS,
    audible_measures,
    length_measures,
    lengths_of,
    voice_measures,
)
from tests.extract.encoders.baselines.notes import Note, performance, scale


def lengths(notes: list[Note]) -> dict[str, np.ndarray]:
    return dict(zip(LENGTH_CHANNELS, length_measures(lengths_of(performance(notes), 10.0))[0].values.T, strict=True))


def voices(notes: list[Note]) -> dict[str, np.ndarray]:
    return dict(zip(VOICE_CHANNELS, voice_measures(lengths_of(performance(notes), 10.0)).values.T, strict=True))


def audible(notes: list[Note], pedal: Sequence[tuple[float, int]]) -> dict[str, np.ndarray]:
    measured, _ = audible_measures(lengths_of(performance(notes, pedal), 10.0))
    return dict(zip(AUDIBLE_CHANNELS, measured.values.T, strict=True))


def test_even_notes_have_no_roughness_and_no_residual() -> None:
    for channel in lengths(scale(length_s=0.3)).values():
        np.testing.assert_allclose(channel, 0, atol=1e-9)


def test_alternating_lengths_are_rough_by_their_ratio() -> None:
    notes = [(on, on + (0.4 if i % 2 else 0.2), 60 + i, v) for i, (on, _, _, v) in enumerate(scale(16))]
    found = lengths(notes)
    assert found["length_roughness_log2"] == pytest.approx([0] + [1] * 15)
    assert found["length_roughness_2_log2"] == pytest.approx([0] + [1] * 14 + [0])
    assert found["length_roughness_by_pitch_log2"] == pytest.approx([0] + [1] * 15)
    # Half of the notes are 0.5 octaves above the mean and half below; no cause explains it well.
    assert found["length_residual_log2"].mean() == pytest.approx(0.5, abs=0.05)


def test_lengths_that_follow_the_rhythm_leave_a_small_residual() -> None:
    gaps = np.tile([0.6, 0.2, 0.2, 0.4], 6)
    onsets = 0.5 + np.concatenate([[0.0], np.cumsum(gaps)[:-1]])
    notes = [(float(t), float(t + 0.9 * gap), 60, 64) for t, gap in zip(onsets, gaps, strict=True)]
    found = lengths(notes)
    assert found["length_roughness_log2"][1:].mean() > 0.7
    assert found["length_residual_log2"][:-1].max() < 0.2
    one_short = [*notes[:10], (notes[10][0], notes[10][0] + 0.25 * (notes[10][1] - notes[10][0]), 60, 64), *notes[11:]]
    assert lengths(one_short)["length_residual_log2"].argmax() == 10
    assert lengths(one_short)["length_from_alike_log2"][10] == pytest.approx(2, abs=0.5)


def test_overlaps_are_by_voice() -> None:
    # A held bass under a legato tune whose notes overlap by 50 ms: the tune's next note is no successor of the bass.
    tune = [(1 + 0.5 * i, 1.55 + 0.5 * i, 72 + i % 3, 70) for i in range(10)]
    found = voices(sorted([*tune, (1.0, 6.0, 40, 60)]))
    assert found["voice_overlap_s"].size == 9
    assert found["voice_overlap_s"] == pytest.approx(0.05)
    assert found["voice_ratio_log2"] == pytest.approx(np.log2(1.1))
    assert found["voice_ratio_abs_log2"] == pytest.approx(np.log2(1.1))
    assert found["voice_legato"] == pytest.approx(np.exp(-0.5 * (0.05 / 0.04) ** 2))


def test_only_releases_with_the_pedal_up_are_audible() -> None:
    notes = [(on, on + (0.4 if i % 2 else 0.2), pitch, v) for i, (on, _, pitch, v) in enumerate(scale(16))]
    assert audible(notes, [])["audible_length_roughness_log2"] == pytest.approx([0] + [1] * 15)
    # With the pedal down during every second note's release, the others are all alike.
    pedal = [event for on, *_ in notes[::2] for event in ((on + 0.1, 127), (on + 0.3, 0))]
    found = audible(notes, pedal)
    assert found["audible_length_roughness_log2"].size == 8
    np.testing.assert_allclose(found["audible_length_roughness_log2"], 0, atol=1e-9)
    assert audible(notes, [(0.0, 127)])["audible_length_residual_log2"].size == 0
