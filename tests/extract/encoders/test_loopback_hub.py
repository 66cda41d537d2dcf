"""Weights that huggingface_hub itself downloads, from a hub on the loopback address; extraction is offline."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest

from keybed import store as stores
from keybed.extract.config import ExtractConfig, PlanConfig
from keybed.extract.encoders.errors import WeightsUnreachable
from keybed.extract.planning.plan import plan
from keybed.extract.run.task import extract
from keybed.store.check.verify import VerifyConfig, verify
from keybed.store.format.recipe import EncoderSpec
from tests.extract.encoders.loopback_hub import Hub
from tests.extract.encoders.tiny_checkpoints import write_mert

HUB_ID = "m-a-p/MERT-tiny"
COMMIT = "8ce9b2e1c3ad4ac6c9d1c0a4f2d4b4b8d2b3a1f0"
CHECKPOINTS = ("model.safetensors", "pytorch_model.bin")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository that holds both checkpoints, their configurations and a page."""
    folder = tmp_path / "repository"
    for checkpoint in CHECKPOINTS:
        write_mert(folder, name=checkpoint)
    (folder / "README.md").write_text("MERT\n")
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of this machine."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def hub(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub that huggingface_hub asks in this process."""
    with Hub(HUB_ID, repository, COMMIT).serve() as serving:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", serving.url)
        template = serving.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield serving


def plan_one_segment(corpus: Path, store: Path, revision: str | None = None) -> EncoderSpec:
    options = {"window_s": 2.0, "n_bins": 4, "limit": 1, "jobs": 1, "weights": {"mert": HUB_ID}}
    revisions = {} if revision is None else {"mert": revision}
    plan(PlanConfig(corpus, store, encoders=("mert",), revisions=revisions, **options))  # type: ignore[arg-type]
    return stores.open(store).recipe.encoders[0]


def extract_from(where: str, store: Path) -> None:
    extract(ExtractConfig(store, workers=0, paths={"weights/mert": where}))
    assert verify(VerifyConfig(store)).sound
    assert len(stores.open(store).rows()) == 4


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
@pytest.mark.parametrize("revision", [None, COMMIT])
def test_a_downloaded_snapshot_is_planned_and_extracted_offline(
    repository: Path, hub: Hub, cache: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch, checkpoint, revision
) -> None:
    for other in set(CHECKPOINTS) - {checkpoint}:
        del hub.files[other]
    snapshot = Path(huggingface_hub.snapshot_download(HUB_ID, revision=revision))
    assert (snapshot / checkpoint).is_symlink()
    assert (snapshot / checkpoint).read_bytes() == (repository / checkpoint).read_bytes()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    asked = len(hub.requests)
    spec = plan_one_segment(tiny_corpus, tmp_path / "store", revision)
    assert (spec.source, spec.revision) == (HUB_ID, COMMIT)
    assert spec.weights_sha256 == hashlib.sha256((repository / checkpoint).read_bytes()).hexdigest()
    assert "models--" not in (tmp_path / "store" / "recipe.json").read_text()
    extract_from(HUB_ID, tmp_path / "store")
    assert len(hub.requests) == asked


def test_what_plan_downloads_is_enough_to_extract_offline(
    hub: Hub, cache: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch
) -> None:
    """It fetches neither the page nor the checkpoint that it does not read; huggingface_hub calls such a snapshot incomplete."""
    spec = plan_one_segment(tiny_corpus, tmp_path / "store")
    assert spec.revision == COMMIT
    assert not any("README" in request for request in hub.requests)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    extract_from(HUB_ID, tmp_path / "store")


def test_one_checkpoint_downloaded_alone_is_planned_offline(
    repository: Path, hub: Hub, cache: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch
) -> None:
    """As `hf download ID pytorch_model.bin config.json preprocessor_config.json` leaves it: the preferred one is absent."""
    huggingface_hub.snapshot_download(HUB_ID, allow_patterns=["pytorch_model.bin", "*.json"])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    spec = plan_one_segment(tiny_corpus, tmp_path / "store")
    assert spec.weights_sha256 == hashlib.sha256((repository / "pytorch_model.bin").read_bytes()).hexdigest()
    extract_from(HUB_ID, tmp_path / "store")


def test_a_snapshot_without_a_checkpoint_says_how_to_download_one(
    hub: Hub, cache: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch
) -> None:
    huggingface_hub.snapshot_download(HUB_ID, allow_patterns=["*.json"])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsUnreachable, match=rf"(?s)not in this machine's cache.*hf download {HUB_ID}"):
        plan_one_segment(tiny_corpus, tmp_path / "store")


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_hf_download_plan_and_extract_in_fresh_processes(
    repository: Path, tiny_corpus: Path, tmp_path: Path, checkpoint: str
) -> None:
    """By the command lines that the pages name: a machine with a network, then offline ones."""
    for other in set(CHECKPOINTS) - {checkpoint}:
        (repository / other).unlink()
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}

    def run(*command: str | Path, **variables: str) -> str:
        done = subprocess.run(command, env=environment | variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with Hub(HUB_ID, repository, COMMIT).serve() as hub:
        run(Path(sys.executable).with_name("hf"), "download", HUB_ID, HF_ENDPOINT=hub.url)
        assert f"GET /lfs/{hashlib.sha256((repository / checkpoint).read_bytes()).hexdigest()}" in hub.requests
    keybed, store = (sys.executable, "-m", "keybed"), tmp_path / "store"
    window = ("--window", "2", "--bins", "4", "--limit", "1", "--jobs", "1", "--encoders", "mert")
    planned = run(*keybed, "plan", tiny_corpus, store, *window, "--mert-weights", HUB_ID, HF_HUB_OFFLINE="1")
    assert f"mert: {checkpoint} has the" in planned
    assert stores.open(store).recipe.encoders[0].revision == COMMIT
    assert "models--" not in (store / "recipe.json").read_text()
    assert "self-check of mert: float32 is within" in run(
        *keybed, "extract", store, "--workers", "0", "--mert-weights", HUB_ID, HF_HUB_OFFLINE="1"
    )
    assert verify(VerifyConfig(store)).sound
