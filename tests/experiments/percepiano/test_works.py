import csv
import dataclasses

import numpy as np
import pytest

from keybed.experiments.percepiano.protocols import (
    COMPOSITION_FOLDS,
    ONE_COMPOSITION_OUT,
    composition_folds,
    protocols,
    write_folds,
)
from keybed.experiments.percepiano.within import pairwise_accuracy
from keybed.experiments.percepiano.works import joined
from keybed.extract.corpus.percepiano import composition_of


@pytest.mark.parametrize(
    ("name", "composition"),
    [
        ("Beethoven_WoO80_thema", "Beethoven_WoO80"),
        ("Beethoven_WoO80_var12", "Beethoven_WoO80"),
        ("Beethoven_WoO80_var_3", "Beethoven_WoO80"),
        ("Mozart_K265 Theme", "Mozart_K265"),
        ("Mozart_K265 Variation IV", "Mozart_K265"),
        ("Brahms_op.35_variation-7b", "Brahms_op.35"),
        ("Schubert_D935_no.3", "Schubert_D935_no.3"),
        ("Schubert_D960_mv2", "Schubert_D960_mv2"),
        ("Bach_Goldberg_Variations", "Bach_Goldberg_Variations"),
        ("var1", "var1"),
    ],
)
def test_a_theme_and_its_variations_are_one_composition(name: str, composition: str) -> None:
    assert composition_of(name) == composition


def test_joined_names_are_listed() -> None:
    names = ["W_var2", "W_thema", "S_mv2", "S_mv3", "W_var2"]
    assert joined(names) == {"W": ("W_thema", "W_var2")}


def test_twenty_compositions_share_five_folds() -> None:
    composition = np.repeat([f"c{i:02d}" for i in range(20)], 7)
    folds = composition_folds(composition)
    assert len(folds) == COMPOSITION_FOLDS == 5
    for train, test in folds:
        assert not set(composition[train]) & set(composition[test])
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(140))
    assert len(composition_folds(composition[:21])) == 3


def test_folds_are_written_as_they_are_used(ratings, tmp_path) -> None:
    protocol = protocols(ratings)[ONE_COMPOSITION_OUT]
    path = write_folds(protocol, ratings, tmp_path / "folds")
    assert path.name == "one-composition-out.csv"
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert [row["name"] for row in rows] == list(ratings.names)
    for number, (_, test) in enumerate(protocol.folds):
        assert [i for i, row in enumerate(rows) if row["fold"] == str(number)] == sorted(test)


def test_pairwise_accuracy_counts_pairs_within_passages() -> None:
    passage = np.array(["a", "a", "a", "b", "b", "b"])
    rating = np.array([[1.0], [2.0], [3.0], [5.0], [5.0], [9.0]])
    predicted = np.array([[10.0], [30.0], [20.0], [0.0], [4.0], [4.0]])
    everybody = np.ones(6, bool)
    # a: 1<2 right, 1<3 right, 2<3 wrong; b: equal ratings left out, 5<9 right, 5<9 with equal predictions a half.
    assert pairwise_accuracy(predicted, rating, passage, everybody) == pytest.approx([3.5 / 5])
    assert pairwise_accuracy(rating, rating, passage, everybody) == pytest.approx([1.0])
    assert pairwise_accuracy(np.zeros_like(rating), rating, passage, everybody) == pytest.approx([0.5])
    assert np.isnan(pairwise_accuracy(predicted, np.ones_like(rating), passage, everybody)).all()


def test_variations_never_stand_on_both_sides(ratings) -> None:
    names = np.where(ratings.composition == np.unique(ratings.composition)[0], "W", ratings.composition)
    three = dataclasses.replace(ratings, composition=np.array([composition_of(f"{n}_var1") for n in names]))
    for train, test in protocols(three)[ONE_COMPOSITION_OUT].folds:
        assert not set(three.composition[train]) & set(three.composition[test])
