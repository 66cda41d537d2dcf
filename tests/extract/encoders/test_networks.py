"""What holds for every network; its own tests compare its values with those of its authors."""

from __future__ import annotations

import numpy as np
import pytest

from keybed.extract.encoders import build, describe
from keybed.extract.encoders.base import Encoder

NETWORKS = ("mert", "midibert", "muq", "aria", "transkun")


def _build(name: str, compute_dtype: str = "float32") -> Encoder:
    return build(*describe(name, weights="random:tiny", n_bins=4, window_s=2.0, compute_dtype=compute_dtype))


@pytest.mark.parametrize("name", NETWORKS)
def test_failed_rows_are_nan_and_leave_the_others_as_they_are(name: str, make_clip) -> None:  # type: ignore[no-untyped-def]
    encoder = _build(name)
    clips = [make_clip(seed, n_notes=12 + 40 * seed, window_s=2.0) for seed in range(6)]
    whole = encoder.encode(clips)
    holed = encoder.encode([*clips[:2], None, *clips[3:]])
    assert np.isnan(holed.layers[2]).all()
    assert not holed.mask[2].any()
    kept = [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(holed.layers[kept], whole.layers[kept])
    np.testing.assert_array_equal(holed.frames[kept], whole.frames[kept])


@pytest.mark.parametrize("compute_dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_shard_gives_the_same_bytes(name: str, compute_dtype: str, make_clip) -> None:  # type: ignore[no-untyped-def]
    clips = [make_clip(seed, n_notes=12 + 40 * seed, window_s=2.0) for seed in range(5)]
    first, second = (_build(name, compute_dtype).encode(clips) for _ in range(2))
    assert first.layers.tobytes() == second.layers.tobytes()
    assert first.frames.tobytes() == second.frames.tobytes()


@pytest.mark.parametrize("name", ["mert", "midibert"])
def test_bfloat16_stays_within_one_percent(name: str, make_clip) -> None:  # type: ignore[no-untyped-def]
    clips = [make_clip(seed, n_notes=12 + 60 * seed, window_s=2.0) for seed in range(3)]
    exact, rough = (_build(name, dtype).encode(clips) for dtype in ("float32", "bfloat16"))
    for key in ("layers", "frames"):
        a, b = getattr(exact, key).astype(np.float64), getattr(rough, key).astype(np.float64)
        assert np.linalg.norm(a - b) < 0.01 * np.linalg.norm(a)
