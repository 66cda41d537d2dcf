from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from keybed.extract.encoders import build, describe
from keybed.extract.encoders.errors import EncoderError, UnknownEncoder, WeightsRefused, WeightsUnreachable
from keybed.extract.encoders.torch.device import draw

STYLE = "mert-tiny-95m-style"
GRID = {"n_bins": 4, "window_s": 2.0}


def test_a_hub_out_of_reach_says_how_to_download_ahead(tmp_path: Path) -> None:
    script = (
        "from keybed.extract.encoders import describe\n"
        "from keybed.extract.encoders.errors import WeightsUnreachable\n"
        "try:\n    describe('mert', n_bins=4, window_s=2.0, revision='abc123')\n"
        "except WeightsUnreachable as error:\n    print(error)\n"
    )
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert "hf download m-a-p/MERT-v1-95M --revision abc123 --local-dir WEIGHTS" in done.stdout
    assert "give its path" in done.stdout


class ProxyError(Exception):
    """As those of HTTP libraries, which are no OSError."""


def test_a_hub_that_fails_in_any_way_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**options: object) -> str:
        raise ProxyError("407 Proxy Authentication Required\nmore about it")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(WeightsUnreachable) as caught:
        describe("mert", **GRID)
    assert "(ProxyError: 407 Proxy Authentication Required)" in str(caught.value)
    assert "hf download m-a-p/MERT-v1-95M --local-dir WEIGHTS" in str(caught.value)


def test_a_cached_snapshot_serves_where_the_hub_does_not(
    goldens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "snapshots" / "12ab34"
    snapshot.mkdir(parents=True)
    _folder(goldens, snapshot)

    def cached(*, local_files_only: bool = False, **options: object) -> str:
        if not local_files_only:
            raise ProxyError("407")
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", cached)
    spec, path = describe("mert", weights="m-a-p/MERT-v1-95M", **GRID)
    assert (spec.source, spec.revision) == ("m-a-p/MERT-v1-95M", "12ab34")
    assert path == str(snapshot / "pytorch_model.bin")
    monkeypatch.undo()
    local, _ = describe("mert", weights=str(snapshot), **GRID)
    assert local.weights_sha256 == spec.weights_sha256


@pytest.mark.parametrize("where", ["/no/such/folder", "./weights", "mert", "a/b/c"])
def test_a_path_that_is_not_there_is_not_looked_for_on_the_hub(where: str) -> None:
    with pytest.raises(WeightsUnreachable, match="no folder or file"):
        describe("mert", weights=where, **GRID)


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnreachable, match=r"model.safetensors, pytorch_model.bin"):
        describe("mert", weights=str(tmp_path), **GRID)


def test_midibert_has_no_default_weights() -> None:
    with pytest.raises(WeightsUnreachable, match='the word "random"'):
        describe("midibert", **GRID)


def _folder(goldens: Path, target: Path) -> Path:
    for file in (goldens / STYLE).iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_checkpoint_is_refused_at_planning(goldens: Path, tmp_path: Path, share: float) -> None:
    folder = _folder(goldens, tmp_path)
    whole = (folder / "pytorch_model.bin").read_bytes()
    (folder / "pytorch_model.bin").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(WeightsRefused, match=r"pytorch_model.bin .* is cut short"):
        describe("mert", weights=str(folder), **GRID)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_truncated_safetensors_are_refused_at_planning(goldens: Path, tmp_path: Path, share: float) -> None:
    from safetensors.torch import save

    folder = _folder(goldens, tmp_path)
    whole = save(torch.load(folder / "pytorch_model.bin", weights_only=True))
    (folder / "model.safetensors").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(WeightsRefused, match=r"model.safetensors .* is cut short"):
        describe("mert", weights=str(folder), **GRID)


def test_json_that_is_no_object_is_refused(goldens: Path, tmp_path: Path) -> None:
    folder = _folder(goldens, tmp_path)
    header = b"[1, 2]"
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(WeightsRefused, match=r"model.safetensors .* is cut short or is no checkpoint"):
        describe("mert", weights=str(folder), **GRID)
    (folder / "model.safetensors").unlink()
    (folder / "config.json").write_text("[1, 2]")
    with pytest.raises(WeightsRefused, match=r"config.json is not a JSON object"):
        describe("mert", weights=str(folder), **GRID)


def test_a_zip_with_its_directory_but_damaged_inside_is_refused_at_building(goldens: Path, tmp_path: Path) -> None:
    folder = _folder(goldens, tmp_path)
    file = folder / "pytorch_model.bin"
    whole = bytearray(file.read_bytes())
    whole[:2000] = b"PK\x03\x04" + bytes(1996)
    file.write_bytes(whole)
    spec, path = describe("mert", weights=str(folder), **GRID)
    with pytest.raises(WeightsRefused, match="cannot be read as a checkpoint"):
        build(spec, path)


def test_weights_exchanged_after_planning_are_refused(goldens: Path, tmp_path: Path) -> None:
    folder = _folder(goldens, tmp_path)
    spec, path = describe("mert", weights=str(folder), **GRID)
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    torch.save({name: tensor + 1 for name, tensor in state.items()}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsRefused, match="the store was planned with"):
        build(spec, path)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(WeightsRefused, match=r"is gone.*places.json"):
        build(spec, path)


def test_a_place_that_the_store_does_not_know() -> None:
    spec, _ = describe("mert", weights="random:tiny", **GRID)
    object.__setattr__(spec, "source", "m-a-p/MERT-v1-95M")
    with pytest.raises(WeightsUnreachable, match=r"places.json"):
        build(spec, None)


def test_random_weights_depend_on_seed_and_name_alone() -> None:
    wanted = {name: torch.empty(shape) for name, shape in {"a.weight": (40, 30), "b.weight": (40, 30)}.items()}
    first, again = draw(wanted, 1), draw(dict(reversed(wanted.items())), 1)
    before = torch.random.get_rng_state()
    for name in wanted:
        torch.testing.assert_close(first[name], again[name], rtol=0, atol=0)
    assert not torch.equal(first["a.weight"], first["b.weight"])
    assert not torch.equal(first["a.weight"], draw(wanted, 2)["a.weight"])
    assert torch.equal(before, torch.random.get_rng_state())
    assert 0.019 < float(first["a.weight"].std()) < 0.021


def test_random_norms_change_nothing_and_convolutions_keep_the_size_of_their_input() -> None:
    wanted = {
        name: torch.empty(shape)
        for name, shape in {
            "block.bn1.weight": (8,),
            "block.bn1.bias": (8,),
            "block.bn1.running_mean": (8,),
            "block.bn1.running_var": (8,),
            "layer_norm.weight": (8,),
            "conv.weight": (64, 32, 3, 3),
            "conv1d.weight": (64, 32, 9),
        }.items()
    }
    drawn = draw(wanted, 1)
    assert {name: float(drawn[name].unique()) for name in wanted if not name.startswith("conv")} == {
        "block.bn1.weight": 1.0,
        "block.bn1.bias": 0.0,
        "block.bn1.running_mean": 0.0,
        "block.bn1.running_var": 1.0,
        "layer_norm.weight": 1.0,
    }
    for name in ("conv.weight", "conv1d.weight"):
        assert float(drawn[name].std()) == pytest.approx((2 / 288) ** 0.5, rel=0.03)


def test_random_weights_say_so() -> None:
    for name in ("mert", "midibert"):
        spec, path = describe(name, weights="random", **GRID)
        assert spec.random_weights
        assert path is None
        assert (spec.n_states, spec.width) == (13, 768)
    with pytest.raises(WeightsUnreachable, match="there are 95M, 330M, tiny"):
        describe("mert", weights="random:7B", **GRID)


def test_the_path_of_one_machine_is_in_no_spec(goldens: Path, tmp_path: Path) -> None:
    here, place_here = describe("mert", weights=str(goldens / STYLE), **GRID)
    copied, place_there = describe("mert", weights=str(_folder(goldens, tmp_path)), **GRID)
    assert here == copied
    assert here.source == "local"
    assert place_here != place_there


def test_names_that_are_none() -> None:
    with pytest.raises(UnknownEncoder, match="there are mert, midibert, muq, aria, transkun, transcribed, logmel"):
        describe("wav2vec", **GRID)
    with pytest.raises(EncoderError, match="has no weights"):
        describe("logmel", weights="random", **GRID)
    with pytest.raises(EncoderError, match="float32, bfloat16"):
        describe("mert", weights="random", compute_dtype="float16", **GRID)
