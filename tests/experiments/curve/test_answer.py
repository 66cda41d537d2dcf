"""The sentence of a curve: sizes, thresholds, rows or pieces, rated passages."""

from types import SimpleNamespace

import numpy as np
import pytest

from keybed.experiments.curve.answer import needs, ratings_in_words, rounded
from keybed.experiments.curve.measure import TOO_FEW_SEGMENTS, Measurements, decide
from keybed.experiments.curve.training_sets import CELLS, FEWEST_ROWS, SAME_ROWS, Cell
from keybed.experiments.evaluation.curve_results import RatedPassages, RatingCurve
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.learning_curve import Needed

UP, ZERO, MORE = Interval(0.05, 0.02, 0.08), Interval(0.01, -0.02, 0.04), Interval(0.09, 0.05, 0.12)


def test_sizes_have_two_digits_that_count() -> None:
    assert [rounded(n) for n in (7, 64, 1234, 98_765)] == ["7", "64", "1,200", "99,000"]


def test_a_size_is_given_with_its_interval() -> None:
    assert needs(Needed(0.5, True, None, None, None), 100) == "(Phase 4 asks 0.50: reached)"
    assert needs(Needed(0.5, False, 420, 260, 3300), 100) == (
        "(Phase 4 asks 0.50: segments needed: about 420, interval 260 to 3,300)"
    )
    assert needs(Needed(0.5, False, None, 80, None), 100) == (
        "(Phase 4 asks 0.50: segments needed: more than 6,400, interval under 100 to more than 6,400)"
    )
    assert needs(Needed(0.5, False, None, None, None), 100).endswith("segments needed: more than 6,400)")


def test_pieces_bind_where_they_help_at_the_same_rows_at_least_as_much_as_rows() -> None:
    assert decide(MORE, MORE, UP, MORE).word == "pieces"
    assert decide(ZERO, ZERO, UP, MORE).words == "rows bind, not pieces"
    assert decide(UP, UP, MORE, MORE).words == "rows bind more than pieces"
    assert decide(ZERO, ZERO, ZERO, ZERO).word == "neither"


@pytest.mark.parametrize(("rows_of_spread", "known"), [(150, True), (151, False)])
def test_sets_of_other_sizes_say_nothing_of_rows_and_pieces(rows_of_spread: int, known: bool) -> None:
    """A piece of two segments has no quarter of them: the set of all pieces is larger than a quarter of all rows."""
    measured = object.__new__(Measurements)
    rows = dict.fromkeys(CELLS, 100) | {SAME_ROWS[2]: rows_of_spread, FEWEST_ROWS[1]: rows_of_spread}
    measured.cells = {cell: SimpleNamespace(n_rows=n) for cell, n in rows.items()}
    measured.names = [(cell, "m") for cell in CELLS]
    measured._r = SimpleNamespace(n_pieces=4, n_seeds=2)
    r = np.arange(len(CELLS), dtype=float)
    measured.statistic = lambda pieces, draws: np.broadcast_to(r, (len(pieces), 1, len(CELLS)))
    found = measured.binding("m")
    assert np.isfinite([found.more_pieces.value, found.more_rows.value, found.fewest.value]).all() == known
    assert found.both.value == r[CELLS.index(Cell(16, 16))] - r[CELLS.index(SAME_ROWS[0])]
    assert (found.words == TOO_FEW_SEGMENTS) is not known


def _ratings(ahead: int | None, sure: int | None) -> RatingCurve:
    size = RatedPassages(40, 400.0, {"m": UP}, {"m": UP})
    return RatingCurve("p2", "gated", ("q",), 3, ZERO, (size,), "m", {"m": ahead}, {"m": sure})


def test_rated_passages_in_words() -> None:
    assert ratings_in_words(_ratings(2, 4)).startswith("a ridge trained on 4 rated passages beats")
    assert "8 rated passages is ahead" in ratings_in_words(_ratings(8, None))
    assert "up to 40 rated passages no ridge" in ratings_in_words(_ratings(None, None))
