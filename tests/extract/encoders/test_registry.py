from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from keybed.extract.config import WEIGHTS
from keybed.extract.encoders import NAMES, NEED_FILES, PRETRAINED, build, describe, has_bfloat16
from keybed.store.format.recipe import EncoderSpec

GRID = {"n_bins": 20, "window_s": 10.0}


def _describe(name: str, **options: object) -> tuple[EncoderSpec, str | None]:
    weights = "random:tiny" if name in NEED_FILES else None
    return describe(name, **{"weights": weights, **GRID, **options})  # type: ignore[arg-type]


def test_describing_needs_no_torch() -> None:
    script = (
        "import sys\nfrom keybed.extract.encoders import NAMES, NEED_FILES, PRETRAINED, build, describe\n"
        "for name in NAMES:\n"
        "    spec, place = describe(name, weights='random' if name in NEED_FILES else None, n_bins=20, window_s=10.0)\n"
        "    if name not in PRETRAINED: build(spec, place)\n"
        "print([m for m in ('torch', 'transformers', 'jax', 'zarr') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", NAMES)
def test_every_encoder_keeps_the_contract(name: str, make_clip) -> None:  # type: ignore[no-untyped-def]
    spec, path = _describe(name)
    assert spec.name == name
    clips = [make_clip(0), None, make_clip(1, n_notes=3), make_clip(2, n_notes=1)]
    pooled = build(spec, path).encode(clips)
    assert pooled.layers.shape == (4, len(spec.layer_stats), spec.n_states, spec.width)
    assert pooled.frames.shape == (4, spec.n_bins, len(spec.frame_stats), spec.width)
    assert pooled.mask.shape == (4, spec.n_bins)
    assert pooled.layers.dtype == pooled.frames.dtype == np.float32
    assert np.isnan(pooled.layers[1]).all()
    assert np.isnan(pooled.frames[1]).all()
    assert not pooled.mask[1].any()
    sound = [0, 2, 3]
    assert np.isfinite(pooled.layers[sound]).all()
    assert np.isfinite(pooled.frames[sound]).all()
    assert np.abs(pooled.layers[sound]).max() < 65504
    assert (pooled.frames[sound][~pooled.mask[sound]] == 0).all()
    assert spec.has_mask or pooled.mask[sound].all()
    assert not spec.channels or len(spec.channels) == spec.width == len(set(spec.channels))
    if "sd" in spec.layer_stats:
        assert (pooled.layers[sound][:, spec.layer_stats.index("sd")] >= 0).all()
    # Another clip says something else, and the same clip the same thing.
    assert not np.array_equal(pooled.layers[0], pooled.layers[2])
    again = build(spec, path).encode(clips)
    assert again.layers.tobytes() == pooled.layers.tobytes()
    assert again.frames.tobytes() == pooled.frames.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_shard(name: str) -> None:
    spec, path = _describe(name)
    pooled = build(spec, path).encode([])
    assert pooled.layers.shape == (0, len(spec.layer_stats), spec.n_states, spec.width)


@pytest.mark.parametrize("name", NAMES)
def test_whatever_shapes_the_numbers_is_in_the_fingerprint(name: str) -> None:
    spec, _ = _describe(name)
    others = [
        _describe(name, n_bins=10)[0],
        _describe(name, window_s=5.0)[0],
        replace(spec, code_version=spec.code_version + 1),
        replace(spec, weights_sha256="0"),
        replace(spec, preprocessing={**spec.preprocessing, "pooling_version": 0}),
        replace(spec, frame_states=(0,), n_states=7),
    ]
    if name in PRETRAINED:
        others += [
            _describe(name, threads=1)[0],
            _describe(name, weights="random")[0],
        ]
        if has_bfloat16(spec):
            others.append(_describe(name, compute_dtype="bfloat16")[0])
    else:
        assert _describe(name, threads=1)[0] == _describe(name, threads=8)[0] == spec  # always one thread
    assert len({spec.fingerprint, *(other.fingerprint for other in others)}) == len(others) + 1
    assert _describe(name)[0].fingerprint == spec.fingerprint


def test_the_big_encoders_upper_half_goes_into_frames() -> None:
    assert describe("mert", weights="random", **GRID)[0].frame_states == (7, 8, 9, 10, 11, 12)
    assert describe("mert", weights="random:330M", **GRID)[0].frame_states == tuple(range(13, 25))
    midibert = describe("midibert", weights="random", **GRID)[0]
    assert midibert.frame_stats == ("mean",)
    assert midibert.has_mask


def test_the_command_line_asks_for_the_weights_of_every_encoder_that_needs_some() -> None:
    """Its table imports nothing heavy, so it repeats names and defaults."""
    from keybed.extract.encoders import registry

    assert tuple(WEIGHTS) == NEED_FILES
    for name, flags in WEIGHTS.items():
        default = getattr(registry._entry(name), "default_weights", None)
        assert flags.on_hub == ("/" in (default or ""))
        assert default is None or default in flags.help
