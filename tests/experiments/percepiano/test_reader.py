import numpy as np
import pytest

from keybed.experiments.percepiano.ceiling import ceilings
from keybed.experiments.percepiano.reader import NotPercePiano, read


def test_flaws_of_files_are_reported_and_the_rest_is_read(published) -> None:
    ratings = read(published)
    assert len(ratings) == 4
    assert "Mozart_K331_4bars_1_01" in ratings.names  # read without the space around its name
    assert set(ratings.composition) == {"Mozart_K331"}
    assert ratings.human.sum() == 2
    remarks = "\n".join(ratings.problems)
    for words in (
        "without the space",
        "label without MIDI",
        "MIDI without a label",
        "has fewer than 19 numbers",
        "cut short",
    ):
        assert words in remarks
    assert (ratings.rating.mean(), ratings.sd.mean()) == pytest.approx((0.5, 0.1))  # both files' names hold "std"
    assert ratings.rating.shape == (4, 19)  # the performer index after the 19 ratings is dropped


def test_a_folder_without_anything_says_what_is_wanted(tmp_path) -> None:
    with pytest.raises(NotPercePiano, match="labels/"):
        read(tmp_path)


def test_the_published_data_reads_whole(shared_data) -> None:
    ratings = read(shared_data / "percepiano")
    assert len(ratings) == 964
    assert np.unique(ratings.passage).size == 82
    assert set(ratings.composition) == {"Schubert_D935_no.3", "Schubert_D960_mv2", "Schubert_D960_mv3"}
    assert (~ratings.human).sum() == 95  # score renderings
    assert ratings.rating.min() >= 0
    assert ratings.rating.max() <= 1
    assert 0.15 < ratings.sd.mean() < 0.19
    assert 0.55 < np.mean(ceilings(ratings).within_r) < 0.8
    assert any("space" in p for p in ratings.problems)


def test_ceilings_are_those_of_the_arithmetic(ratings) -> None:
    largest = ceilings(ratings, raters=11)
    error = 0.1**2 / 10
    assert largest.r2 == pytest.approx(1 - error / ratings.rating.var(axis=0))
    assert max(largest.within_r) < 1
    assert min(largest.within_r) > 0.8
