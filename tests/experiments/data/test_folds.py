"""Groups stay whole, folds get nearly equal numbers of rows."""

import numpy as np
import pytest

from keybed.experiments.data.folds import grouped_folds


def test_a_group_lies_in_one_fold_and_every_fold_has_rows():
    groups = np.repeat(np.arange(11), [3, 9, 1, 4, 4, 2, 8, 5, 5, 6, 7])
    fold = grouped_folds(groups, 4)
    assert all(len(set(fold[groups == g])) == 1 for g in range(11))
    assert np.bincount(fold, minlength=4).min() >= 10
    pieces = np.repeat(np.arange(15), 20)
    assert np.bincount(grouped_folds(pieces, 5)).tolist() == [60] * 5


def test_fewer_groups_than_folds_is_refused():
    with pytest.raises(ValueError, match="5 folds need as many groups; there are 2"):
        grouped_folds(np.array([0, 0, 1]), 5)
    with pytest.raises(ValueError, match="5 folds need as many groups; there are 1"):
        grouped_folds(np.zeros(40, int), 5)
