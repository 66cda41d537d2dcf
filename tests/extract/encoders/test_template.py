"""The encoder of docs/encoder-template, copied into the package and entered into the table, keeps the contract."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import keybed.extract.encoders
from keybed.extract.encoders import build, check_checkpoint, describe, registry
from keybed.extract.encoders.errors import WeightsRefused

TEMPLATE = Path(__file__).resolve().parents[3] / "docs" / "encoder-template"
ARCHITECTURE = {"hidden_size": 6, "num_hidden_layers": 2, "hop_length": 480}


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    shutil.copytree(TEMPLATE, tmp_path / "encoders" / "toy")
    monkeypatch.setattr(
        keybed.extract.encoders, "__path__", [*keybed.extract.encoders.__path__, str(tmp_path / "encoders")]
    )
    importlib.invalidate_caches()
    spec, tensors, model, reference = (
        importlib.import_module(f"keybed.extract.encoders.toy.{name}")
        for name in ("spec", "tensors", "model", "reference")
    )
    entry = registry._Pretrained(
        spec.describe, model.Toy, reference.reference, tensors, spec.DEFAULT_WEIGHTS, spec.n_parameters
    )
    monkeypatch.setitem(registry._REGISTRY, "toy", entry)
    yield "toy"
    import sys

    for name in [name for name in sys.modules if name.startswith("keybed.extract.encoders.toy")]:
        del sys.modules[name]
    del keybed.extract.encoders.toy  # type: ignore[attr-defined]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint, and what plain numpy computes with it: the authors' code of this encoder."""
    rng = np.random.default_rng(0)
    shapes = {"input": (6, 480), "layers.0": (6, 6), "layers.1": (6, 6)}
    arrays = {f"{name}.weight": rng.standard_normal(shape) for name, shape in shapes.items()}
    arrays |= {f"{name}.bias": rng.standard_normal(6) for name in shapes}
    waveforms = 0.1 * rng.standard_normal((2, 48_000))
    state = waveforms.reshape(2, 100, 480) @ arrays["input.weight"].T + arrays["input.bias"]
    states = [state]
    for layer in range(2):
        state = np.tanh(state @ arrays[f"layers.{layer}.weight"].T + arrays[f"layers.{layer}.bias"])
        states.append(state)
    folder = tmp_path / "weights"
    folder.mkdir()
    tensors = {f"module.{name}": torch.from_numpy(value.astype(np.float32)) for name, value in arrays.items()}
    save_file({**tensors, "head.weight": torch.zeros(3)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(ARCHITECTURE))
    np.savez(folder / "expected.npz", waveforms=waveforms.astype(np.float32), hidden_states=np.stack(states))
    return folder


def test_its_golden_test_passes_and_can_fail(toy: str, checkpoint: Path) -> None:
    golden = importlib.import_module("keybed.extract.encoders.toy.golden_test")
    golden.assert_states_are_the_authors(checkpoint)
    expected = dict(np.load(checkpoint / "expected.npz"))
    expected["hidden_states"][2, 0, 0, 0] += 0.001
    np.savez(checkpoint / "expected.npz", **expected)
    with pytest.raises(AssertionError):
        golden.assert_states_are_the_authors(checkpoint)


def test_it_keeps_the_contract(toy: str, checkpoint: Path, make_clip) -> None:  # type: ignore[no-untyped-def]
    spec, path = describe(toy, weights=str(checkpoint), n_bins=4, window_s=2.0)
    assert path is not None
    assert (spec.name, spec.n_states, spec.width, spec.frame_states, spec.source) == ("toy", 3, 6, (2,), "local")
    assert "6 tensors of its architecture" in check_checkpoint(spec, path)
    encoder = build(spec, path)
    assert encoder.self_check is not None
    assert encoder.self_check.layers < 1e-5
    clips = [make_clip(0, window_s=2.0), None, make_clip(1, window_s=2.0)]
    pooled = encoder.encode(clips)
    assert pooled.layers.shape == (3, 2, 3, 6)
    assert pooled.frames.shape == (3, 4, 2, 6)
    assert np.isnan(pooled.layers[1]).all()
    assert encoder.encode(clips).layers.tobytes() == pooled.layers.tobytes()


def test_its_random_weights_and_its_refusals(toy: str, checkpoint: Path) -> None:
    spec, path = describe(toy, weights="random:tiny", n_bins=4, window_s=2.0)
    assert path is None
    assert spec.random_weights
    (checkpoint / "config.json").write_text(json.dumps({**ARCHITECTURE, "num_hidden_layers": 3}))
    spec, path = describe(toy, weights=str(checkpoint), n_bins=4, window_s=2.0)
    assert path is not None
    with pytest.raises(WeightsRefused, match=r"2 tensors missing \(layers\.2"):
        check_checkpoint(spec, path)
    (checkpoint / "config.json").write_text(json.dumps({**ARCHITECTURE, "hop_length": "480"}))
    with pytest.raises(WeightsRefused, match="hop_length '480', not a positive whole number"):
        describe(toy, weights=str(checkpoint), n_bins=4, window_s=2.0)
