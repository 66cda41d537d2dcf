from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybed.extract.encoders import NEED_FILES, build, describe, pooling
from keybed.extract.encoders.base import Clip
from keybed.extract.encoders.baselines.note_features import NOTE_CHANNELS
from keybed.extract.encoders.errors import EncoderError
from keybed.extract.music.performance import Performance


def test_mert_frames_of_ten_seconds_fill_bins_of_37_and_38() -> None:
    centres = pooling.frame_centres_s(749, 320 / 24000, 400 / 24000)
    assert centres[0] == pytest.approx(200 / 24000)
    bins = pooling.bins_of(centres, 20, 10.0)
    # Centre i is at (320 i + 200) / 24000 s: bin 0 holds those below 12000 samples, i = 0 … 36.
    assert np.flatnonzero(bins == 0).tolist() == list(range(37))
    counts = np.bincount(bins)
    assert set(counts.tolist()) == {37, 38}
    assert counts.sum() == 749


def test_a_moment_on_an_edge_belongs_to_the_bin_that_begins_there() -> None:
    time_s = np.array([-1e-6, 0.0, 0.1, 0.3, 0.7, 0.9999999, 1.0, 5.0])
    assert pooling.bins_of(time_s, 10, 1.0).tolist() == [-1, 0, 1, 3, 7, 9, -1, -1]


@pytest.mark.parametrize(("n_bins", "window_s"), [(20, 10.0), (10, 1.0), (100, 10.0), (40, 20.0), (7, 3.3)])
def test_a_note_at_the_very_end_of_the_window_is_in_the_last_bin_and_one_before_it_in_none(
    n_bins: int, window_s: float
) -> None:
    onset_s = np.array([np.nextafter(0.0, -1), 0.0, window_s * (1 - 1e-12), np.nextafter(window_s, 0), window_s])
    assert pooling.note_bins(onset_s, n_bins, window_s).tolist() == [-1, 0, n_bins - 1, n_bins - 1, -1]
    edges = np.arange(n_bins) / n_bins * window_s
    assert pooling.note_bins(edges, n_bins, window_s).tolist() == list(range(n_bins))


@pytest.mark.parametrize("name", ["aria", "expressive", "midibert", "placeholder-midi"])
def test_layers_and_frames_hold_the_same_notes(name: str) -> None:
    onset_s = np.array([1.0, 9.0, np.nextafter(10.0, 0)])
    notes = Performance(onset_s, onset_s + 0.4, np.array([60, 62, 64], np.int16), np.array([50, 60, 70], np.int16))
    spec, path = describe(name, weights="random:tiny" if name in NEED_FILES else None, n_bins=20, window_s=10.0)
    pooled = build(spec, path).encode([Clip(np.zeros(240_000, np.float32), notes, 10.0)])
    assert np.flatnonzero(pooled.mask[0]).tolist() == [2, 18, 19]
    # One note per bin: the mean over those bins is the mean over the window's notes, in every column of the notes.
    chosen = pooled.layers[0, 0, list(spec.frame_states)].mean(0)
    columns = slice(None, len(NOTE_CHANNELS) if name == "expressive" else None)
    frames = pooled.frames[0, [2, 18, 19], 0].mean(0)
    np.testing.assert_allclose(frames[columns], chosen[columns], atol=1e-4)


def test_mean_and_spread_in_closed_form() -> None:
    values = np.array([[1.0, 7.0], [3.0, 7.0], [100.0, 0.0], [-5.0, 2.0]])
    mean, sd, count = pooling.bin_stats(values, np.array([0, 0, -1, 2]), 3)
    assert mean.tolist() == [[2, 7], [0, 0], [-5, 2]]
    assert sd.tolist() == [[1, 0], [0, 0], [0, 0]]
    assert count.tolist() == [2, 0, 1]


def test_spread_survives_a_large_mean() -> None:
    values = np.array([[1e6 - 1], [1e6 + 1]] * 50)
    assert pooling.bin_stats(values, np.zeros(100, np.intp), 1)[1][0, 0] == 1.0


def test_time_stats_of_a_ramp() -> None:
    n = 101
    mean, sd = pooling.time_stats(np.arange(n, dtype=np.float32)[:, None])
    assert mean[0] == 50
    assert sd[0] == pytest.approx(np.sqrt((n**2 - 1) / 12))
    assert pooling.time_stats(np.zeros((0, 3))).tolist() == [[0, 0, 0], [0, 0, 0]]


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 12))
def test_bin_stats_and_matrix_equal_the_plain_loop(seed: int, n_steps: int, n_bins: int) -> None:
    rng = np.random.default_rng(seed)
    values, bins = rng.normal(3, 2, (n_steps, 4)), rng.integers(-1, n_bins, n_steps)
    mean, sd, count = pooling.bin_stats(values, bins, n_bins)
    for b in range(n_bins):
        inside = [values[t] for t in range(n_steps) if bins[t] == b]
        assert count[b] == len(inside)
        np.testing.assert_allclose(mean[b], np.mean(inside, 0) if inside else np.zeros(4), atol=1e-6)
        np.testing.assert_allclose(sd[b], np.std(inside, 0) if inside else np.zeros(4), atol=1e-6)
    np.testing.assert_allclose(pooling.averaging_matrix(bins, n_bins) @ values, mean, atol=1e-5)


def test_upper_half_of_the_stacks_in_use() -> None:
    assert pooling.upper_half(13) == (7, 8, 9, 10, 11, 12)
    assert pooling.upper_half(25) == tuple(range(13, 25))
    assert pooling.upper_half(1) == (0,)


def _arrays(value: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    layers = np.zeros((2, 2, 1, 3), np.float32)
    layers[1, 0, 0, 2] = value
    return layers, np.zeros((2, 4, 1, 3), np.float32), np.ones((2, 4), np.bool_)


@pytest.mark.parametrize("value", [65505.0, -1e6, np.inf, np.nan])
def test_what_float16_cannot_hold_is_refused_by_row(value: float) -> None:
    with pytest.raises(EncoderError, match="row 1 of this shard"):
        pooling.finish("x", *_arrays(value), np.array([False, False]))


def test_failed_rows_become_nan_and_masked_whatever_they_held() -> None:
    pooled = pooling.finish("x", *_arrays(np.inf), np.array([False, True]))
    assert np.isnan(pooled.layers[1]).all()
    assert np.isnan(pooled.frames[1]).all()
    assert pooled.mask.tolist() == [[True] * 4, [False] * 4]
    assert not np.isnan(pooled.layers[0]).any()
    pooling.finish("x", *_arrays(65504.0), np.array([False, False]))
