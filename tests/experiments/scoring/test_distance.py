"""The distance of features: a Mahalanobis distance where all components are kept, and its threshold."""

from __future__ import annotations

import numpy as np
import pytest

from keybed.experiments.scoring import distance
from keybed.heads.inputs import HeadInput, from_arrays


def batch(x: np.ndarray) -> HeadInput:
    """Audio layers of one state, so that the pooled features are x itself."""
    n = len(x)
    return from_arrays(
        audio_layers=x[:, None],
        score=np.zeros((n, 8)),
        valid=np.zeros((n, 8), bool),
        segment=np.arange(n),
        row=np.arange(n),
    )


def test_with_all_components_it_is_the_mahalanobis_distance(monkeypatch):
    monkeypatch.setattr(distance, "KEPT_VARIANCE", 1.0)
    rng = np.random.default_rng(0)
    train = rng.normal(size=(4000, 3)) @ np.array([[2.0, 1, 0], [0, 1, 1], [1, 0, 3]]) + 5
    found = distance.fit_distance([batch(train)], [batch(train[:500])], np.zeros(500, int))["audio"]
    x = train[:50] + 1
    centred = x - train.mean(0)
    inverse = np.linalg.inv(np.cov(train.T, bias=True))
    slow = np.sqrt(np.einsum("ni,ij,nj->n", centred, inverse, centred))
    assert found(x) == pytest.approx(slow, rel=0.02)


def test_one_validation_row_in_a_hundred_lies_outside():
    rng = np.random.default_rng(0)
    train, validation = rng.normal(size=(3000, 30)), rng.normal(size=(2000, 30))
    found = distance.fit_distance([batch(train)], [batch(validation)], np.zeros(2000, int))
    outside = distance.distance_of(found, batch(validation)) > 1
    assert outside.mean() == pytest.approx(0.01, abs=0.001)
    assert (distance.distance_of(found, batch(validation + 6)) > 1).all()


def test_frames_are_pooled_over_the_bins_that_count():
    frames = np.array([[[1.0], [3.0], [100.0]]])
    rows = from_arrays(
        midi_frames=frames,
        midi_mask=np.array([[True, True, False]]),
        score=np.zeros((1, 8)),
        valid=np.zeros((1, 8), bool),
        segment=np.zeros(1),
        row=np.zeros(1),
    )
    assert distance.pooled(rows, "midi").tolist() == [[2.0, 1.0]]
    assert distance.pooled(rows, "audio") is None
