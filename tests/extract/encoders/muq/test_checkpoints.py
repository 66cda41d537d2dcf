"""Which checkpoints and configurations of MuQ are read, and which are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from keybed.extract.encoders import describe
from keybed.extract.encoders.errors import WeightsRefused
from tests.extract.encoders.muq.tiny_muq import STYLE, build_muq, states_of, waveforms_of


def _copy(source: Path, target: Path, change: Any = lambda config: None) -> Path:
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(source / name, target / name)
    config = json.loads((target / "config.json").read_text())
    change(config)
    (target / "config.json").write_text(json.dumps(config))
    return target


def _set(key: str, value: object) -> Any:
    def change(config: dict[str, Any]) -> None:
        *parents, leaf = key.split(".")
        for parent in parents:
            config = config[parent]
        if value is None:
            del config[leaf]
        else:
            config[leaf] = value

    return change


@pytest.mark.parametrize("key", ["num_hidden_layers", "hidden_size", "conv_dim", "conv_stride", "vocab_size"])
def test_entries_of_w2v2_config_that_the_authors_overwrite_change_nothing(
    goldens: Path, tmp_path: Path, key: str
) -> None:
    lying = _copy(goldens / STYLE, tmp_path, _set(f"w2v2_config.{key}", 24))
    published, changed = (
        describe("muq", weights=str(folder), n_bins=4, window_s=2.0)[0] for folder in (goldens / STYLE, lying)
    )
    assert published == changed
    assert published.n_states == json.loads((lying / "config.json").read_text())["encoder_depth"] + 1


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("encoder_depth", 99, r"tensors missing \(conformer.layers"),
        ("encoder_depth", 1, r"unexpected \(conformer.layers.1"),
        ("encoder_depth", None, "has no encoder_depth"),
        ("encoder_depth", "twelve", "encoder_depth 'twelve', not a positive int"),
        ("encoder_dim", 47, "a head needs an even width"),
        ("conv_dim", 13, r"of another shape \(conv.conv.0.bn1.bias"),
        ("n_mels", 64, r"1 of another shape \(conv.linear.weight"),
        ("stat.melspec_2048_std", 0, "stat.melspec_2048_std 0, not a positive float"),
        ("features", ["chromagram"], "has features .* only \\['melspec_2048'\\] is supported"),
        ("w2v2_config", None, "has no w2v2_config"),
        ("w2v2_config.intermediate_size", 7, "of another shape"),
        ("w2v2_config.position_embeddings_type", "relative", "position_embeddings_type 'relative'"),
        ("w2v2_config.hidden_act", "gelu", "hidden_act 'gelu'"),
        ("w2v2_config.conv_depthwise_kernel_size", 30, "even conv_depthwise_kernel_size"),
    ],
)
def test_another_architecture_is_refused(goldens: Path, tmp_path: Path, key: str, value: object, message: str) -> None:
    with pytest.raises(WeightsRefused, match=message):
        build_muq(_copy(goldens / STYLE, tmp_path, _set(key, value)))


def test_a_folder_with_only_a_pickle_of_tensors_holds_the_same_model(goldens: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    saved = load_file(goldens / STYLE / "model.safetensors")
    # The positional embedding's rates are a buffer, which not every file has.
    saved.pop("model.conformer.embed_positions.inv_freq")
    torch.save(saved, tmp_path / "pytorch_model.bin")
    shutil.copyfile(goldens / STYLE / "config.json", tmp_path / "config.json")
    waveform = waveforms_of(np.load(goldens / STYLE / "expected.npz"))[:1, :24_000]
    for ours, theirs in zip(
        states_of(build_muq(tmp_path), waveform), states_of(build_muq(goldens / STYLE), waveform), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_a_safetensors_file_is_preferred_to_a_pickle(goldens: Path, tmp_path: Path) -> None:
    folder = _copy(goldens / STYLE, tmp_path)
    torch.save({}, folder / "pytorch_model.bin")
    assert describe("muq", weights=str(folder), n_bins=4, window_s=2.0)[1] == str(folder / "model.safetensors")


def test_code_in_a_pickle_is_never_run(goldens: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[Path]]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"model.cls_token": Trap()}, tmp_path / "pytorch_model.bin")
    shutil.copyfile(goldens / STYLE / "config.json", tmp_path / "config.json")
    with pytest.raises(WeightsRefused, match="cannot be read as a checkpoint"):
        build_muq(tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_the_hub_id_is_pinned_to_the_revision_with_safetensors(
    goldens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(*, revision: str | None, **options: object) -> str:
        asked.append(revision)
        snapshot = tmp_path / "snapshots" / str(revision)
        snapshot.mkdir(parents=True)
        return str(_copy(goldens / STYLE, snapshot))

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    spec, _ = describe("muq", n_bins=4, window_s=2.0)
    assert (spec.source, spec.revision) == ("OpenMuQ/MuQ-large-msd-iter", "0562a57814f6f8bbd9fdea0a25921a2fce1a841a")
    assert describe("muq", revision="abc", n_bins=4, window_s=2.0)[0].revision == "abc"
    assert asked == [spec.revision, "abc"]
