import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from keybed.experiments.percepiano.inputs import make_inputs
from keybed.experiments.percepiano.models import (
    BLEND,
    PLAIN_TREES,
    all_models,
    choose_in_folds,
    comparative_models,
    out_of_fold,
)
from keybed.experiments.percepiano.protocols import (
    ONE_COMPOSITION_OUT,
    PERFORMER_DISJOINT,
    SEGMENT_GROUPED,
    protocols,
    scores,
)
from keybed.experiments.percepiano.regressors import PENALTIES, player_means, ridge, ridge_by_passage
from keybed.experiments.percepiano.within import Within, less_passage_mean
from keybed.experiments.percepiano.zero_shot import answer_questions, holm
from keybed.store.format.vocabulary import DIMENSIONS


@pytest.fixture(scope="module")
def inputs(ratings):
    return make_inputs(ratings)


def test_no_test_performance_is_in_training(ratings) -> None:
    by_name = protocols(ratings)
    group = {
        SEGMENT_GROUPED: ratings.passage,
        PERFORMER_DISJOINT: ratings.player,
        ONE_COMPOSITION_OUT: ratings.composition,
    }
    for name, protocol in by_name.items():
        tested = np.concatenate([j for _, j in protocol.folds])
        assert sorted(tested) == list(range(len(ratings)))
        for train, test in protocol.folds:
            assert not set(group[name][train]) & set(group[name][test])


def test_within_passage_r_is_that_of_centred_columns(ratings) -> None:
    rng = np.random.default_rng(0)
    predicted = ratings.rating + rng.normal(0, 0.1, ratings.rating.shape)
    h = ratings.human
    slow = []
    for k in range(19):
        a, b = predicted[h, k].copy(), ratings.rating[h, k].copy()
        for p in np.unique(ratings.passage[h]):
            here = ratings.passage[h] == p
            a[here] -= a[here].mean()
            b[here] -= b[here].mean()
        slow.append(np.corrcoef(a, b)[0, 1])
    within = Within(ratings, h)
    assert within.r(predicted[h]) == pytest.approx(slow)
    assert within.r(np.zeros_like(predicted[h])) == pytest.approx(np.zeros(19))
    # Passage means, however good, are worth nothing.
    level = predicted - less_passage_mean(predicted, ratings.passage, h)
    assert within.r(level[h]) == pytest.approx(np.zeros(19), abs=1e-6)


def test_doubling_a_player_is_weighting_him_twice(ratings) -> None:
    within = Within(ratings, ratings.human)
    drawn = within.weights(50, 0)
    assert drawn.shape == (50, ratings.human.sum())
    assert drawn.mean() == pytest.approx(1, abs=0.25)
    one = drawn[0]
    players = ratings.player[ratings.human]
    same = [len(np.unique(one[(players == p) & (one > 0)] % 1)) for p in np.unique(players)]
    assert max(same) <= 1


def test_no_model_learns_from_ratings_of_test_performances(inputs, ratings) -> None:
    train, test = protocols(ratings)[ONE_COMPOSITION_OUT].folds[0]
    spoiled = ratings.rating.copy()
    spoiled[test] = np.random.default_rng(1).random(spoiled[test].shape)
    import dataclasses

    other = dataclasses.replace(inputs, ratings=dataclasses.replace(ratings, rating=spoiled))
    for name, model in all_models(inputs).items():
        assert all_models(other)[name](train, test) == pytest.approx(model(train, test)), name


def test_comparative_models_find_what_was_planted(inputs, ratings) -> None:
    protocol = protocols(ratings)[ONE_COMPOSITION_OUT]
    within = Within(ratings, ratings.human)
    blend = out_of_fold(comparative_models(inputs)[BLEND], protocol.folds, *ratings.rating.shape)
    assert within.r(blend[within.kept]).mean() > 0.75
    plain = out_of_fold(all_models(inputs)[PLAIN_TREES], protocol.folds, *ratings.rating.shape)
    assert within.r(blend[within.kept]).mean() > within.r(plain[within.kept]).mean()


def test_the_choice_never_sees_the_test_composition(inputs, ratings) -> None:
    folds = protocols(ratings)[ONE_COMPOSITION_OUT].folds
    noise = np.random.default_rng(0).normal(size=(len(ratings), 30))
    candidates = {
        "noise": ridge(noise, inputs.target, ratings.human),
        "statistics": ridge(inputs.standardised, inputs.target, ratings.human),
    }
    predicted, names = choose_in_folds(candidates, ratings, folds)
    assert names == ["statistics"] * 3
    assert np.isfinite(predicted).all()


def test_a_penalty_chosen_by_passage_does_not_learn_what_only_names_the_passage() -> None:
    rng = np.random.default_rng(0)
    passage = np.repeat(np.arange(20).astype(str), 8)
    code, level = rng.normal(size=(20, 15)), rng.normal(size=(20, 2))
    number = passage.astype(int)
    features = code[number] + 0.05 * rng.normal(size=(160, 15))
    target = level[number]  # the same for all performances of a passage, and unrelated between passages
    train, test = np.flatnonzero(number < 16), np.flatnonzero(number >= 16)
    by_passage = ridge_by_passage(features, target, passage)(train, test)
    by_performance = ridge(features, target)(train, test)
    error = [float(((p - target[test]) ** 2).mean()) for p in (by_passage, by_performance)]
    assert error[0] < 0.7 * error[1]
    # More channels than performances: the same predictions as without the rotation.
    wide = np.hstack([features, rng.normal(size=(160, 200))])
    scale = StandardScaler().fit(wide[train])
    folds = list(GroupKFold(5).split(train, groups=passage[train]))
    plain = RidgeCV(PENALTIES, cv=folds).fit(scale.transform(wide[train]), target[train])
    expected = plain.predict(scale.transform(wide[test]))
    np.testing.assert_allclose(ridge_by_passage(wide, target, passage)(train, test), expected, atol=1e-8)
    # With one passage nothing can be held out; single performances are then.
    few = np.flatnonzero(number == 0)
    one = ridge_by_passage(features, target, passage)(few, test)
    assert np.array_equal(one, ridge(features, target)(few, test))


def test_the_table_uses_no_music(ratings) -> None:
    table = player_means(ratings, ratings.rating, by_composition=True)
    train, test = protocols(ratings)[SEGMENT_GROUPED].folds[0]
    predicted = table(train, test)
    i = test[0]
    known = train[(ratings.player[train] == ratings.player[i]) & (ratings.composition[train] == ratings.composition[i])]
    assert predicted[0] == pytest.approx(ratings.rating[known].mean(axis=0))


def test_r2_is_one_for_truth_and_zero_for_the_mean(ratings) -> None:
    assert scores(ratings.rating, ratings.rating)["r2"] == pytest.approx(np.ones(19))
    mean = np.tile(ratings.rating.mean(axis=0), (len(ratings), 1))
    assert scores(mean, ratings.rating)["r2"] == pytest.approx(np.zeros(19))


def test_holm_steps_down() -> None:
    # Holm (1979): 4 tests at .01, .04, .03, .005 become .03, .06, .06, .02.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_zero_shot_has_the_signs_that_were_fixed_beforehand(ratings) -> None:
    rng = np.random.default_rng(0)
    rating = rng.random(ratings.rating.shape)
    import dataclasses

    random_ratings = dataclasses.replace(ratings, rating=rating)
    predicted = rng.normal(0, 0.05, (len(ratings), 8))
    predicted[:, DIMENSIONS.index("rhythmic_stability")] -= rating[:, 0]  # high where raters say stable
    predicted[:, DIMENSIONS.index("dynamic_range")] -= rating[:, 10]  # the wrong way round
    answers = {
        a.question.dimension: a
        for a in answer_questions(random_ratings, predicted, replicates=200).answers
        if a.confirmatory
    }
    assert answers["rhythmic_stability"].r.low > 0.9
    assert answers["rhythmic_stability"].p < 0.05
    assert answers["dynamic_range"].r.high < -0.9
    assert answers["dynamic_range"].p > 0.9
    assert abs(answers["pedal_technique"].r.value) < 0.4
