"""A checkpoint is looked into when it is planned: names, shapes, types, NaN, prefixes, parts, pointers, traps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from keybed.extract.encoders import PRETRAINED, build, check_checkpoint, describe
from keybed.extract.encoders.errors import WeightsRefused
from keybed.extract.encoders.mert.model import load_hubert
from keybed.extract.encoders.registry import _REGISTRY, _Pretrained
from tests.extract.encoders.tiny_checkpoints import GRID, mert_state, midibert_state, save, write_mert

FORMATS = ("model.safetensors", "pytorch_model.bin")


def _planned(folder: Path, name: str = "mert"):  # type: ignore[no-untyped-def]
    spec, path = describe(name, weights=str(folder), **GRID)  # type: ignore[arg-type]
    assert path is not None
    return spec, path, check_checkpoint(spec, path)


def _loaded(folder: Path) -> dict[str, torch.Tensor]:
    """What the model holds after the checkpoint was planned and loaded, and its positional convolution's weight."""
    spec, path, _ = _planned(folder)
    hubert = load_hubert(spec, Path(path))
    position = hubert.encoder.pos_conv_embed.conv.weight
    return {**hubert.state_dict(), "position": position.detach()}


def _assert_equal(loaded: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert loaded.keys() == expected.keys()
    for name, tensor in expected.items():
        assert loaded[name].dtype == torch.float32
        assert torch.equal(loaded[name], tensor), name


@pytest.mark.parametrize("name", PRETRAINED)
@pytest.mark.parametrize("size", ["tiny", ""])
def test_the_shapes_without_torch_are_those_of_the_model(name: str, size: str) -> None:
    spec, _ = describe(name, weights=f"random:{size}" if size else "random", **GRID)  # type: ignore[arg-type]
    architecture, entry = spec.preprocessing["architecture"], _REGISTRY[name]
    assert isinstance(entry, _Pretrained)
    with torch.device("meta"):
        if name == "mert":
            from transformers import HubertConfig, HubertModel

            model = HubertModel(HubertConfig(**architecture, mask_time_prob=0.0, mask_feature_prob=0.0))
        elif name == "midibert":
            from keybed.extract.encoders.midibert.model import MidiBertStates

            model = MidiBertStates(architecture)
        elif name == "muq":
            from keybed.extract.encoders.muq.model import MuqStates

            model = MuqStates(architecture)
        elif name in ("transkun", "transcribed"):
            from keybed.extract.encoders.transkun.model import Network

            model = Network(architecture)
        else:
            from keybed.extract.encoders.aria.model import AriaStates

            model = AriaStates(architecture)
    state = {key: tuple(t.shape) for key, t in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    assert {key: shape.shape for key, shape in entry.tensors.shapes(architecture, state).items()} == state


@pytest.mark.parametrize("format", FORMATS)
def test_a_sound_checkpoint_is_named_with_its_tensors(tmp_path: Path, format: str) -> None:
    _, _, line = _planned(write_mert(tmp_path, name=format))
    assert line == f"mert: {format} has the {len(mert_state())} tensors of its architecture, and no NaN"


def test_safetensors_are_looked_into_without_torch(tmp_path: Path) -> None:
    write_mert(tmp_path)
    script = (
        "import sys\nfrom keybed.extract.encoders import check_checkpoint, describe\n"
        f"spec, path = describe('mert', weights={str(tmp_path)!r}, n_bins=4, window_s=2.0)\n"
        "print(check_checkpoint(spec, path), 'torch' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("and no NaN False\n")


def test_without_torch_a_pickle_is_left_to_extraction_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, path = describe("mert", weights=str(write_mert(tmp_path, name="pytorch_model.bin")), **GRID)  # type: ignore[arg-type]
    assert path is not None
    for module in [name for name in sys.modules if name.startswith("keybed.extract.encoders.torch")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delattr("keybed.extract.encoders.torch", raising=False)
    assert "torch is not installed here" in check_checkpoint(spec, path)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_are_no_numbers_are_refused_at_planning(
    tmp_path: Path, format: str, value: float, dtype: torch.dtype
) -> None:
    state = {key: tensor.to(dtype) for key, tensor in mert_state().items()}
    state["encoder.layers.1.attention.k_proj.weight"][3, 5] = value
    with pytest.raises(WeightsRefused, match=r"NaN or infinite weights in encoder.layers.1.attention.k_proj.weight"):
        _planned(write_mert(tmp_path, state, format))


@pytest.mark.parametrize("format", FORMATS)
def test_another_architecture_is_refused_at_planning(tmp_path: Path, format: str) -> None:
    state = mert_state()
    del state["encoder.layers.2.layer_norm.bias"]
    state["encoder.layers.0.layer_norm.bias"] = torch.zeros(49)
    with pytest.raises(
        WeightsRefused,
        match=r"1 tensors missing \(encoder.layers.2.layer_norm.bias\), 0 unexpected, 1 of another shape "
        r"\(encoder.layers.0.layer_norm.bias \(49,\) for \(48,\)",
    ):
        _planned(write_mert(tmp_path, state, format))


@pytest.mark.parametrize("format", FORMATS)
def test_quantised_weights_are_refused_by_name(tmp_path: Path, format: str) -> None:
    state = mert_state()
    state["encoder.layer_norm.weight"] = torch.ones(48, dtype=torch.int8)
    with pytest.raises(WeightsRefused, match=r"holds encoder.layer_norm.weight as (I8|int8); weights must be float32"):
        _planned(write_mert(tmp_path, state, format))


@pytest.mark.parametrize("prefix", ["module.", "model.", "hubert.", "module.model.hubert.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_taken_off(tmp_path: Path, prefix: str) -> None:
    plain = _loaded(write_mert(tmp_path / "plain"))
    state = {prefix + key: tensor for key, tensor in mert_state().items()}
    _assert_equal(_loaded(write_mert(tmp_path / "wrapped", state)), plain)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_a_dictionary_around_the_tensors_is_opened(tmp_path: Path, key: str) -> None:
    plain = _loaded(write_mert(tmp_path / "plain"))
    inside = {key: {"module." + name: tensor for name, tensor in mert_state().items()}, "epoch": 3}
    folder = write_mert(tmp_path / "inside", inside, "pytorch_model.bin")  # type: ignore[arg-type]
    _assert_equal(_loaded(folder), plain)


@pytest.mark.parametrize("format", FORMATS)
def test_a_folded_weight_norm_is_unfolded(tmp_path: Path, format: str) -> None:
    state = mert_state()
    name = "encoder.pos_conv_embed.conv"
    norm, direction = (f"{name}.parametrizations.weight.original{part}" for part in (0, 1))
    state[norm] = state[norm] * 1.7  # so that the norm is not the direction's own
    plain = _loaded(write_mert(tmp_path / "plain", state))
    size = state[direction].norm(dim=(0, 1), keepdim=True)
    state[f"{name}.weight"] = state.pop(norm) * state.pop(direction) / size
    folded = _loaded(write_mert(tmp_path / "folded", state, format))
    torch.testing.assert_close(folded["position"], plain["position"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("format", FORMATS)
def test_weights_saved_in_another_precision_are_the_same_numbers(
    tmp_path: Path, dtype: torch.dtype, format: str
) -> None:
    rounded = {key: tensor.to(dtype) for key, tensor in mert_state().items()}
    widened = {key: tensor.float() for key, tensor in rounded.items()}
    loaded = _loaded(write_mert(tmp_path / "rounded", rounded, format))
    _assert_equal(loaded, _loaded(write_mert(tmp_path / "widened", widened, format)))


def _shard(folder: Path, format: str) -> Path:
    """The same tensors in two files and an index, as save_pretrained does it above its largest shard."""
    write_mert(folder, name=format)
    (folder / format).unlink()
    stem, suffix = format.rsplit(".", 1)
    state = list(mert_state().items())
    weight_map = {}
    for number, part in enumerate((state[:20], state[20:]), 1):
        name = f"{stem}-{number:05d}-of-00002.{suffix}"
        save(dict(part), folder / name)
        weight_map |= {key: name for key, _ in part}
    (folder / f"{format}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


@pytest.mark.parametrize("format", FORMATS)
def test_a_sharded_checkpoint_loads(tmp_path: Path, format: str) -> None:
    folder = _shard(tmp_path / "sharded", format)
    plain = _loaded(write_mert(tmp_path / "plain", name=format))
    _assert_equal(_loaded(folder), plain)
    spec, path, line = _planned(folder)
    assert line.startswith(f"mert: {format}.index.json has the")
    part = folder / f"{format.rsplit('.', 1)[0]}-00002-of-00002.{format.rsplit('.', 1)[1]}"
    save({key: tensor + 1 for key, tensor in list(mert_state().items())[20:]}, part)
    with pytest.raises(WeightsRefused, match="the store was planned with"):
        build(spec, path)
    part.unlink()
    with pytest.raises(WeightsRefused, match=rf"names 2 parts, of which {part.name} is absent"):
        describe("mert", weights=str(folder), **GRID)  # type: ignore[arg-type]


@pytest.mark.parametrize("weight_map", [None, {}, {"a": "../../etc/passwd"}, {"a": 3}])
def test_an_index_that_is_none_is_refused(tmp_path: Path, weight_map: object) -> None:
    folder = _shard(tmp_path, "model.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(WeightsRefused, match="is no index of a sharded checkpoint"):
        describe("mert", weights=str(folder), **GRID)  # type: ignore[arg-type]


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 377552987\n"


@pytest.mark.parametrize("file", [*FORMATS, "config.json"])
def test_a_git_lfs_pointer_is_named(tmp_path: Path, file: str) -> None:
    folder = write_mert(tmp_path, name=file if file in FORMATS else FORMATS[0])
    (folder / file).write_text(POINTER)
    with pytest.raises(WeightsRefused, match=rf"{file} is a Git LFS pointer.*git lfs pull"):
        describe("mert", weights=str(folder), **GRID)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "header", [{"a": 3}, {"a": {"dtype": "F32"}}, {"a": {"shape": "x", "dtype": 1, "data_offsets": [0]}}]
)
def test_a_hostile_header_is_refused(tmp_path: Path, header: dict[str, object]) -> None:
    folder = write_mert(tmp_path)
    data = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(data).to_bytes(8, "little") + data + bytes(8))
    with pytest.raises(WeightsRefused, match="is cut short or is no checkpoint"):
        describe("mert", weights=str(folder), **GRID)  # type: ignore[arg-type]


def test_a_header_whose_shape_and_bytes_disagree_is_refused(tmp_path: Path) -> None:
    folder = write_mert(tmp_path)
    whole = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    header["encoder.layer_norm.weight"]["dtype"] = "F64"
    data = json.dumps(header).encode().ljust(length)
    (folder / "model.safetensors").write_bytes(len(data).to_bytes(8, "little") + data + whole[8 + length :])
    with pytest.raises(WeightsRefused, match="do not agree"):
        _planned(folder)


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("echo run",)


@pytest.mark.parametrize("name", ["mert", "midibert"])
def test_a_refused_pickle_never_says_how_to_switch_the_check_off(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if name == "mert":
        folder = write_mert(tmp_path, {**mert_state(), "trap": Trap()}, "pytorch_model.bin")  # type: ignore[dict-item]
    else:
        folder = tmp_path
        (folder / "bert_config.json").write_text(
            json.dumps({"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96})
        )
        torch.save({"state_dict": midibert_state(), "trap": Trap()}, folder / "model.ckpt")
    with pytest.raises(WeightsRefused) as caught:
        _planned(folder, name)
    message = str(caught.value)
    assert "cannot be read as a checkpoint: it holds the Python object posix.system" in message
    for advice in ("weights_only", "trust", "safe_globals", "arbitrary"):
        assert advice not in message
    assert "run" not in capfd.readouterr().out.split()
