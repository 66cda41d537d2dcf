"""Weights from the Hugging Face cache as `hf download` makes it: blobs, refs, and snapshots of relative links."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from keybed.extract.encoders import describe
from keybed.extract.encoders.errors import WeightsRefused, WeightsUnreachable
from keybed.extract.encoders.weights import on_this_machine
from keybed.extract.run.check_recipe import _check_encoder
from tests.extract.encoders.tiny_checkpoints import GRID, write_mert

HUB_ID = "m-a-p/MERT-tiny"
COMMIT = "8ce9b2e1c3ad4ac6c9d1c0a4f2d4b4b8d2b3a1f0"


def lay_cache(cache: Path, checkpoint: str) -> Path:
    """Move a checkpoint's folder into the layout of huggingface_hub; returns the snapshot."""
    repository = cache / f"models--{HUB_ID.replace('/', '--')}"
    snapshot, blobs = repository / "snapshots" / COMMIT, repository / "blobs"
    write_mert(snapshot, name=checkpoint)
    blobs.mkdir()
    for file in list(snapshot.iterdir()):
        blob = blobs / hashlib.sha256(file.read_bytes()).hexdigest()
        file.rename(blob)
        file.symlink_to(Path("../../blobs") / blob.name)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return snapshot


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no hub to ask."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


@pytest.mark.parametrize("checkpoint", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("revision", [None, COMMIT])
def test_what_is_planned_from_the_cache_is_found_again(offline: Path, checkpoint: str, revision: str | None) -> None:
    snapshot = lay_cache(offline, checkpoint)
    spec, path = describe("mert", weights=HUB_ID, revision=revision, **GRID)  # type: ignore[arg-type]
    assert (spec.source, spec.revision) == (HUB_ID, COMMIT)
    assert path == str(snapshot / checkpoint)
    # As extraction does it: from the planned path, from the planned id, from a folder, from a link to the folder.
    link = offline.parent / "link"
    link.symlink_to(snapshot)
    for given in (path, HUB_ID, str(snapshot), str(link)):
        where = on_this_machine("mert", given, spec.source, spec.revision)
        path_here = _check_encoder(spec, where)
        assert path_here is not None
        assert Path(path_here).samefile(path)


def test_a_folder_whose_checkpoint_is_a_link_is_planned(tmp_path: Path) -> None:
    write_mert(tmp_path / "folder")
    (tmp_path / "folder" / "model.safetensors").rename(tmp_path / "elsewhere")
    (tmp_path / "folder" / "model.safetensors").symlink_to("../elsewhere")
    spec, path = describe("mert", weights=str(tmp_path / "folder"), **GRID)  # type: ignore[arg-type]
    assert path == str(tmp_path / "folder" / "model.safetensors")
    assert _check_encoder(spec, path) == path


def test_a_link_to_a_blob_that_is_gone_says_so(offline: Path) -> None:
    snapshot = lay_cache(offline, "model.safetensors")
    (snapshot / "model.safetensors").resolve().unlink()
    with pytest.raises(WeightsRefused, match=r"model.safetensors is gone \(it is a link to ../../blobs/"):
        describe("mert", weights=HUB_ID, **GRID)  # type: ignore[arg-type]


def test_extraction_never_asks_the_hub_and_takes_no_missing_file_for_an_id(
    offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*arguments: object, **options: object) -> None:
        assert options.get("local_files_only"), "the hub was asked"
        raise FileNotFoundError

    monkeypatch.setattr("huggingface_hub.snapshot_download", asked)
    with pytest.raises(WeightsUnreachable, match="there is no folder or file weights/mert"):
        on_this_machine("mert", "weights/mert", HUB_ID, COMMIT)
    with pytest.raises(WeightsUnreachable, match=rf"cache does not hold {HUB_ID} at {COMMIT}"):
        on_this_machine("mert", HUB_ID, HUB_ID, COMMIT)


@pytest.mark.parametrize("where", ["weights/mert", "MERT/pytorch_model.bin", "mert.safetensors"])
def test_planning_takes_no_path_for_an_id(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of that name, or a checkpoint's ending, shows that a file is meant."""
    (tmp_path / "weights").mkdir()
    monkeypatch.chdir(tmp_path)

    def asked(**options: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("huggingface_hub.snapshot_download", asked)
    with pytest.raises(WeightsUnreachable, match=f"there is no folder or file {where}"):
        describe("mert", weights=where, **GRID)  # type: ignore[arg-type]
