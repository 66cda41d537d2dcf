from __future__ import annotations

import numpy as np
import pytest

from keybed.extract.encoders.transcribed.fidelity import MEASURES, fidelity
from keybed.extract.music.performance import Performance


def _performance(notes: list[tuple[float, float, int, int]], pedal: list[tuple[float, int]] = []) -> Performance:  # noqa: B006
    onset, offset, pitch, velocity = np.array(notes, np.float64).reshape(-1, 4).T
    seconds, values = np.array(pedal, np.float64).reshape(-1, 2).T
    return Performance(
        onset, offset, pitch.astype(np.int16), velocity.astype(np.int16), seconds, values.astype(np.int16)
    )


def _measured(transcribed: Performance, played: Performance, window_s: float = 10.0) -> dict[str, float]:
    return dict(zip(MEASURES, fidelity(transcribed, played, window_s).tolist(), strict=True))


def test_a_perfect_transcription() -> None:
    played = _performance([(0.5, 1.0, 60, 64), (1.0, 2.0, 64, 80)], [(0.2, 127), (5.0, 0)])
    measured = _measured(played, played)
    assert measured["note_f1"] == measured["note_precision"] == measured["note_recall"] == 1
    assert measured["pedal_agreement"] == 1
    assert all(measured[name] == 0 for name in ("onset_bias_ms", "onset_sd_ms", "velocity_bias", "velocity_sd"))


def test_numbers_by_hand() -> None:
    played = _performance([(1, 2, 60, 60), (2, 3, 60, 60), (3, 3.5, 62, 70), (4, 5, 64, 50)], [(0, 0)])
    heard = _performance(
        [
            (1.01, 2, 60, 70),  # 10 ms late, 10 too loud, 0.99 of the length
            (2.03, 4.09, 60, 60),  # 30 ms late, 2.06 s for 1 s
            (3.06, 3.5, 62, 70),  # 60 ms late: no match
            (7, 8, 64, 50),  # nobody played it
            (9, 9.5, 30, 50),
        ],
        [(4, 127), (6, 0)],
    )
    measured = _measured(heard, played)
    assert measured["note_precision"] == pytest.approx(2 / 5)
    assert measured["note_recall"] == pytest.approx(2 / 4)
    assert measured["note_f1"] == pytest.approx(4 / 9)
    assert measured["onset_bias_ms"] == pytest.approx(20, abs=1e-3)
    assert measured["onset_sd_ms"] == pytest.approx(10, abs=1e-3)
    assert (measured["velocity_bias"], measured["velocity_sd"]) == (5, 5)
    assert measured["length_log_sd"] == pytest.approx(np.log(2.06 / 0.99) / 2, abs=1e-6)
    assert measured["pedal_agreement"] == pytest.approx(0.8)


def test_lengths_under_the_pedal_and_beyond_the_window_are_left_out() -> None:
    played = _performance([(1, 2, 60, 60), (3, 4, 62, 60), (9, 12, 64, 60)], [(1.5, 127), (2.5, 0)])
    heard = _performance([(1, 2.4, 60, 60), (3, 4, 62, 60), (9, 10, 64, 60)])
    assert _measured(heard, played)["length_log_sd"] == 0
    assert _measured(heard, played)["note_f1"] == 1


def test_a_repeated_key_is_matched_once_each() -> None:
    played = _performance([(1.00, 1.02, 60, 60), (1.04, 1.2, 60, 60)])
    heard = _performance([(1.03, 1.035, 60, 60), (1.08, 1.2, 60, 60)])
    assert _measured(heard, played)["note_f1"] == 1
    assert _measured(_performance([(1.02, 1.2, 60, 60)]), played)["note_recall"] == 0.5


def test_matches_are_as_many_as_a_maximum_matching_finds() -> None:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    rng = np.random.default_rng(0)
    for _ in range(20):
        onsets = [np.sort(rng.uniform(0, 2, 40)) for _ in range(2)]
        pitches = [rng.integers(60, 63, 40) for _ in range(2)]
        a, b = (
            _performance([(s, s + 0.1, key, 60) for s, key in zip(o, p, strict=True)])
            for o, p in zip(onsets, pitches, strict=True)
        )
        near = (np.abs(onsets[0][:, None] - onsets[1]) <= 0.05) & (pitches[0][:, None] == pitches[1])
        n_most = int((maximum_bipartite_matching(csr_array(near), perm_type="column") >= 0).sum())
        assert _measured(a, b)["note_recall"] == pytest.approx(n_most / 40)


def test_nothing_to_measure_is_nan() -> None:
    measured = _measured(Performance.empty(), Performance.empty())
    assert measured["pedal_agreement"] == 1
    assert all(np.isnan(value) for name, value in measured.items() if name != "pedal_agreement")
    assert _measured(Performance.empty(), _performance([(1, 2, 60, 60)]))["note_f1"] == 0
