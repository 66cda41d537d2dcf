"""Intervals: closed forms, and coverage of pieces that calibration did not see."""

from __future__ import annotations

import numpy as np
import pytest

from keybed.experiments.evaluation.predictions import Predictions
from keybed.experiments.scoring.calibration import (
    COVERAGE,
    Calibration,
    calibrate,
    coverage_by_piece,
    intervals,
    quantile_by_piece,
)


def made(rng: np.random.Generator, n_pieces: int, rows: int, piece_sd: float, seeds: int = 3) -> Predictions:
    """Predictions that miss by a shift of the whole piece and by noise of each row."""
    n = n_pieces * rows
    piece = np.repeat(np.arange(n_pieces), rows).astype(np.int32)
    score = rng.uniform(60, 90, (n, 8)).astype(np.float32)
    error = rng.normal(0, piece_sd, (n_pieces, 8))[piece] + rng.normal(0, 3, (n, 8))
    predicted = (score + error)[None] + rng.normal(0, 1, (seeds, n, 8))
    ones, zeros = np.ones((n, 8), bool), np.zeros(n)
    return Predictions(
        {"gated": predicted.astype(np.float32)},
        score,
        ones,
        zeros.astype(np.uint8),
        np.arange(n, dtype=np.int32),
        piece,
        np.zeros((n, 6), np.float32),
    )


def test_every_piece_counts_alike():
    """Nine pieces of one row with residuals 1 to 9, and one of 99 rows with 100: by piece the 0.9 quantile is 9 or 100."""
    residual = np.concatenate([np.arange(1.0, 10.0), np.full(99, 100.0)])
    piece = np.concatenate([np.arange(9), np.full(99, 9)])
    # Left out, the large piece is covered by no other, and each of the small ones is: 9 of 10 pieces, which is the coverage asked.
    assert quantile_by_piece(residual, piece) in (9.0, 100.0)
    assert quantile_by_piece(residual[:9], np.zeros(9, int)) == 9.0


def test_a_quantile_of_one_piece_is_the_plain_one():
    residual = np.arange(1.0, 101.0)
    assert quantile_by_piece(residual, np.zeros(100, int)) == 90.0


@pytest.mark.parametrize("piece_sd", [0.0, 3.0])
def test_new_pieces_are_covered_as_often_as_asked(piece_sd):
    """60 pieces calibrate, 400 others test: mean coverage within 0.03 of what was asked, also where errors are the piece's."""
    rng = np.random.default_rng(1)
    validation, test = made(rng, 60, 20, piece_sd), made(rng, 400, 5, piece_sd)
    calibration = calibrate(validation, "gated", validation.score, validation.valid)
    calibration = Calibration(
        calibration.factor_K, calibration.offset_K, calibration.known_nothing_width_K, np.zeros(8), np.full(8, 200.0)
    )
    found = intervals(calibration, test.by_model["gated"])
    covered = [coverage_by_piece(found, k, test)[0] for k in range(8)]
    assert np.mean(covered) == pytest.approx(COVERAGE, abs=0.03)


def test_an_interval_in_closed_form():
    """Seeds 70 and 74: mean 72, sd 2. factor 2, offset 1: half-width 6. Cut at 75; known nothing 11 is narrower than 12."""
    eight = np.ones(8)
    calibration = Calibration(2 * eight, eight, 11 * eight, 50 * eight, 75 * eight)
    found = intervals(calibration, np.array([70.0, 74.0])[:, None, None] * np.ones((2, 1, 8)))
    assert (found.score[0, 0], found.lower[0, 0], found.upper[0, 0]) == (72, 66, 75)
    assert found.width[0, 0] == 12
    assert found.wide.all()
    assert not intervals(
        Calibration(2 * eight, eight, 12 * eight, 50 * eight, 75 * eight), 70 * np.ones((1, 1, 8))
    ).wide.any()


def test_a_dimension_without_validation_rows_is_never_judged():
    validation = made(np.random.default_rng(0), 4, 10, 0.0)
    validation.valid[:, 3] = False
    calibration = calibrate(validation, "gated", validation.score, validation.valid)
    found = intervals(calibration, validation.by_model["gated"])
    assert found.wide[:, 3].all()
    assert not found.wide[:, 0].any()
