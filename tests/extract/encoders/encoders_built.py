"""Build an encoder of a known class, and clips of notes for encoders that take no audio."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from keybed.extract.encoders import build, describe
from keybed.extract.encoders.base import Clip, Encoder
from keybed.extract.music.performance import Performance

E = TypeVar("E", bound=Encoder)
Plain = Callable[[E, Clip], tuple[np.ndarray, np.ndarray, np.ndarray]]


def build_as(kind: type[E], name: str, weights: Path | str, window_s: float, n_bins: int, **options: str) -> E:
    spec, path = describe(name, weights=str(weights), n_bins=n_bins, window_s=window_s, **options)  # type: ignore[arg-type]
    encoder = build(spec, path)
    assert isinstance(encoder, kind)
    return encoder


def note_clip(n_notes: int, seed: int = 0, window_s: float = 10.0) -> Clip:
    rng = np.random.default_rng(seed)
    onset_s = np.sort(rng.uniform(0, window_s, n_notes))
    pitch = rng.integers(21, 109, n_notes).astype(np.int16)
    pedal_s = np.sort(rng.uniform(0, window_s, 8))
    pedal = np.tile(np.array([127, 0], np.int16), 4)
    return Clip(np.zeros(0, np.float32), Performance(onset_s, onset_s + 0.3, pitch, pitch, pedal_s, pedal), window_s)


def assert_rows_are_pooled_as_if_alone(encoder: E, lengths: list[int], alone: Plain[E]) -> None:
    """Rows of these numbers of notes in one shard, with a failed one among them, against `alone` for each.

    alone: layers, frames and mask of one clip without batches, buckets or running sums.
    """
    clips: list[Clip | None] = [note_clip(n, seed=n) for n in lengths]
    clips.insert(3, None)
    pooled = encoder.encode(clips)
    for row, clip in enumerate(clips):
        if clip is None:
            assert np.isnan(pooled.layers[row]).all()
            assert not pooled.mask[row].any()
            continue
        layers, frames, mask = alone(encoder, clip)
        np.testing.assert_allclose(pooled.layers[row], layers, atol=2e-5)
        np.testing.assert_allclose(pooled.frames[row], frames, atol=2e-5)
        np.testing.assert_array_equal(pooled.mask[row], mask)
        if clip.performance.onset_s.size == 1:
            assert (pooled.layers[row, 1] == 0).all()  # one note has no spread
