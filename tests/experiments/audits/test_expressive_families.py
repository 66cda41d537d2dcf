"""The audit of families on rows made by hand: one family holds one axis's score, the others hold noise."""

from __future__ import annotations

import numpy as np
import pytest

from keybed.experiments.audits.expressive_families import Features, blocks_of, predict
from keybed.experiments.audits.specific_r import Judged, mean_gain, specific_r
from keybed.extract.encoders.baselines.expressive import CHANNELS, FAMILIES
from keybed.store.format.vocabulary import AXES, DIMENSIONS


def rows_in_which(channel: str, axis: str, n: int = 1_440) -> Features:
    """Rows of twelve pieces in which one channel's mean is one axis's score plus as much noise, and that is all there is."""
    rng = np.random.default_rng(0)
    score = rng.uniform(50, 97.5, (n, len(DIMENSIONS))).astype(np.float32)
    frames = rng.normal(size=(n, 2, 2 * len(CHANNELS))).astype(np.float32)
    told = score[:, AXES.index(axis)]
    frames[:, 0, CHANNELS.index(channel)] = told + rng.normal(0, told.std(), n)
    return Features(
        frames_Nx2xW=frames,
        layers_Nx2xC=frames[:, :, : len(CHANNELS)],
        fingerprint_NxF=rng.normal(size=(n, 3)),
        fingerprint_names=("a", "b", "c"),
        tier=np.tile(np.arange(4), n // 4),
        piece=np.repeat(np.arange(12), n // 12),
        score=score,
        valid=np.ones(score.shape, bool),
    )


def test_the_family_that_tells_an_axis_is_found() -> None:
    features = rows_in_which("trend_sd_1s_log2", "expression")
    blocks = {name: features.block(FAMILIES[name]) for name in ("expression", "dynamics")}
    predictions = predict(features, blocks, folds=4)
    assert all(values.shape == ((features.tier > 0).sum(), 8) for values in predictions.values())
    known = features.tier > 0
    judged = Judged(features.score[known], features.valid[known], features.piece[known])
    expression = specific_r(judged, predictions, "expression", replicates=200)
    # Score and noise are equally large: the best possible r is 1 / sqrt(2), of which 80 columns of noise take a little.
    assert expression["expression"].value == pytest.approx(0.707, abs=0.06)
    assert expression["expression"].low < expression["expression"].value < expression["expression"].high
    assert abs(expression["dynamics"].value) < 0.2
    assert abs(specific_r(judged, predictions, "notes", replicates=50)["expression"].value) < 0.2
    gain = mean_gain(judged, predictions, "expression", "dynamics", ("expression",), replicates=200)
    assert gain.value == pytest.approx(expression["expression"].value - expression["dynamics"].value, abs=1e-9)
    assert gain.low > 0.4


def test_blocks_are_the_families_with_the_first_and_alone() -> None:
    blocks = blocks_of(rows_in_which("velocity", "dynamics", 48))
    widths = {name: x.shape[2] // 2 for name, x in blocks.items()}
    assert widths["first"] == 28
    assert widths["all"] == len(CHANNELS)
    assert widths["first + pedal"] == 28 + widths["pedal alone"] == 28 + len(FAMILIES["pedal"])
