import dataclasses

import numpy as np
import pytest

from keybed.experiments.percepiano.note_statistics import note_statistics
from keybed.experiments.percepiano.passage_deviations import passage_deviations
from keybed.experiments.percepiano.passages import chords, match_notes
from keybed.extract.music.performance import Performance


@pytest.fixture(scope="module")
def piece(ratings) -> Performance:
    return ratings.performances[0]


def stretched(p: Performance, factor: float) -> Performance:
    return dataclasses.replace(p, onset_s=p.onset_s * factor, offset_s=p.offset_s * factor, pedal_s=p.pedal_s * factor)


def without(p: Performance, notes) -> Performance:
    keep = np.setdiff1d(np.arange(p.n_notes), notes)
    return dataclasses.replace(
        p, onset_s=p.onset_s[keep], offset_s=p.offset_s[keep], pitch=p.pitch[keep], velocity=p.velocity[keep]
    )


def test_the_same_notes_match_one_to_one_whatever_the_tempo(piece) -> None:
    assert match_notes(piece, piece).tolist() == list(range(piece.n_notes))
    assert match_notes(piece, stretched(piece, 1.7)).tolist() == list(range(piece.n_notes))


def test_missing_and_wrong_notes_stay_unmatched_and_disturb_no_others(piece) -> None:
    lacking = without(piece, [10, 31])
    matches = match_notes(piece, lacking)
    assert np.flatnonzero(matches < 0).tolist() == [10, 31]
    assert (lacking.pitch[matches[matches >= 0]] == piece.pitch[matches >= 0]).all()
    wrong = dataclasses.replace(piece, pitch=np.where(np.arange(piece.n_notes) == 20, 90, piece.pitch).astype(np.int16))
    assert np.flatnonzero(match_notes(piece, wrong) < 0).tolist() == [20]


def test_chords_gather_notes_within_35_ms(piece) -> None:
    sizes = [len(g) for g in chords(piece)]
    assert sum(sizes) == piece.n_notes
    assert sizes[:5] == [3, 2, 2, 2, 3]


def test_statistics_know_what_was_changed(piece) -> None:
    plain = note_statistics(piece)
    slow = note_statistics(stretched(piece, 2.0))
    assert slow["log_duration"] - plain["log_duration"] == pytest.approx(np.log(2), abs=0.01)
    assert slow["log_gap_mean"] - plain["log_gap_mean"] == pytest.approx(np.log(2), abs=0.01)
    assert slow["log_length_mean"] - plain["log_length_mean"] == pytest.approx(np.log(2), abs=1e-6)
    assert slow["velocity_mean"] == plain["velocity_mean"]
    loud = note_statistics(dataclasses.replace(piece, velocity=(piece.velocity + 10).astype(np.int16)))
    assert loud["velocity_mean"] - plain["velocity_mean"] == pytest.approx(10)
    dry = note_statistics(dataclasses.replace(piece, pedal_s=np.zeros(0), pedal_value=np.zeros(0, np.int16)))
    assert dry["pedal_down_share"] == 0
    assert dry["pedal_blur"] < plain["pedal_blur"]
    with pytest.raises(ValueError, match="too few"):
        note_statistics(without(piece, np.arange(7, piece.n_notes)))


def test_deviations_are_from_the_others(piece) -> None:
    louder = dataclasses.replace(piece, velocity=(piece.velocity + 12).astype(np.int16))
    slower = stretched(piece, 1.25)
    same, loud, slow = passage_deviations([piece, louder, slower], 0)
    assert loud["loud_away"] == pytest.approx(12)
    assert slow["tempo_ratio"] == pytest.approx(np.log(1.25), abs=0.01)
    assert slow["tempo_away_sd"] == pytest.approx(0, abs=0.01)
    assert slow["length_ratio"] == pytest.approx(np.log(1.25), abs=1e-6)
    assert same["missing_share"] == same["extra_share"] == 0
    assert passage_deviations([piece, without(piece, [3])], 0)[1]["missing_share"] == pytest.approx(1 / piece.n_notes)
