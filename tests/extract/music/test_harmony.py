"""Local keys and clashes, against scales and intervals written by hand."""

from __future__ import annotations

import numpy as np

from keybed.extract.music.harmony import clashes, local_key, local_profiles, nearness, scale_of


def test_local_key_of_plain_scales() -> None:
    for tonic in range(12):
        major = np.array([0, 4, 7, 0, 2, 5, 9, 11, 4, 7]) + 60 + tonic
        assert local_key(major.astype(np.int16), np.ones(10)) == (tonic, "major")
    minor = np.array([0, 3, 7, 0, 3, 7, 5, 8, 11]) + 57
    assert local_key(minor.astype(np.int16), np.ones(9)) == (9, "minor")
    assert scale_of(9, "minor") == {9, 11, 0, 2, 4, 5, 7, 8}


def test_what_clashes() -> None:
    c_major = scale_of(0, "major")
    assert clashes(61, [], c_major)
    assert not clashes(62, [60, 64], c_major)
    assert clashes(65, [64], c_major)
    assert clashes(59, [60], c_major)
    assert clashes(77, [64], c_major)
    assert not clashes(72, [60], c_major)


def test_local_profiles_leave_the_note_itself_out() -> None:
    onset_s, length_s = np.array([0.0, 0.5, 2.0]), np.array([0.5, 3.0, 0.25])
    pitch = np.array([60, 64, 72], np.int16)
    profile = local_profiles(nearness(onset_s, 1.5), length_s, pitch)
    for note in range(3):
        mass = np.zeros(12)
        for other in range(3):
            if other != note:  # lengths count up to one second
                near = np.exp(-0.5 * ((onset_s[note] - onset_s[other]) / 1.5) ** 2)
                mass[pitch[other] % 12] += near * min(length_s[other], 1.0)
        mass = mass + 0.1 * mass.sum() / 12 + 1e-4
        np.testing.assert_allclose(profile[note], mass / mass.sum())
    np.testing.assert_allclose(
        local_profiles(nearness(onset_s[:1], 1.5), length_s[:1], pitch[:1]), np.full((1, 12), 1 / 12)
    )
