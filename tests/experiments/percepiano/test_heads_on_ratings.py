import dataclasses

import numpy as np
import pytest

from keybed.experiments.percepiano.config import HeadPlan
from keybed.experiments.percepiano.heads_on_ratings import heads_on_ratings, pair_of
from keybed.experiments.percepiano.inputs import make_inputs
from keybed.experiments.percepiano.models import out_of_fold
from keybed.experiments.percepiano.protocols import ONE_COMPOSITION_OUT, protocols
from keybed.experiments.percepiano.windows import Windows
from keybed.experiments.percepiano.within import Within
from keybed.extract.encoders import describe

PLAN = HeadPlan(kinds=("audio", "gated"), epochs=8, seeds=1, hidden=16, batch_rows=16)


@pytest.fixture(scope="module")
def specs():
    return [describe(name, n_bins=4, window_s=10.0)[0] for name in ("logmel", "expressive")]


@pytest.fixture(scope="module")
def windows(ratings) -> Windows:
    """Two windows per performance; audio carries the loudness, MIDI the tempo, both among noise and the passage's own."""
    rng = np.random.default_rng(0)
    item = np.repeat(np.arange(len(ratings)), 2)
    loud = np.array([p.velocity.mean() for p in ratings.performances])[item] / 10
    tempo = np.array([len(p.onset_s) / p.onset_s[-1] for p in ratings.performances])[item]
    own = {name: rng.normal(0, 3) for name in np.unique(ratings.passage)}
    passage = np.array([own[p] for p in ratings.passage])[item]
    frames = {}
    for name, carried in (("logmel", loud), ("expressive", tempo)):
        made = rng.normal(0, 0.3, (item.size, 4, 2, 3))
        made[..., 0, 0] += (carried + passage)[:, None]
        frames[name] = made.astype(np.float32)
    layers = {name: f.mean(axis=1)[:, :, None] for name, f in frames.items()}
    mask = {name: np.ones((item.size, 4), bool) for name in frames}
    return Windows(item, layers, frames, mask)


def test_trained_encoders_come_before_noise(specs) -> None:
    noise = describe("mert", weights="random:tiny", n_bins=4, window_s=10.0)[0]
    assert pair_of([noise, *specs]) == {"audio": "logmel", "midi": "expressive"}
    assert pair_of([noise]) == {"audio": "mert"}


def test_a_head_that_needs_what_is_absent_is_left_out(windows, specs, ratings) -> None:
    assert set(heads_on_ratings(windows, specs[:1], make_inputs(ratings), PLAN)) == {
        "head on logmel",
        "comparative head on logmel",
    }


def test_heads_learn_from_ratings_and_never_from_those_of_test_performances(windows, specs, ratings) -> None:
    inputs = make_inputs(ratings)
    folds = protocols(ratings)[ONE_COMPOSITION_OUT].folds
    heads = heads_on_ratings(windows, specs, inputs, PLAN)
    within = Within(ratings, ratings.human)
    predicted = {name: out_of_fold(model, folds[:1], *ratings.rating.shape) for name, model in heads.items()}
    train, test = folds[0]
    first = Within(ratings, ratings.human & np.isin(np.arange(len(ratings)), test))
    r = {name: float(first.r(p[first.kept]).mean()) for name, p in predicted.items()}
    assert r["comparative gated head on logmel and expressive"] > 0.6  # has tempo and loudness
    assert (
        r["comparative gated head on logmel and expressive"] > r["comparative head on logmel"] + 0.05
    )  # which has loudness alone
    assert within.kept.size > first.kept.size

    spoiled = ratings.rating.copy()
    spoiled[test] = np.random.default_rng(1).random(spoiled[test].shape)
    other = make_inputs(dataclasses.replace(ratings, rating=spoiled))
    again = heads_on_ratings(windows, specs, other, PLAN)
    shuffled = np.random.default_rng(2).permutation(test)
    for name, model in again.items():
        assert model(train, shuffled) == pytest.approx(predicted[name][shuffled], abs=1e-5), name
