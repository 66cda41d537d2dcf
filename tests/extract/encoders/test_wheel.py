from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from keybed.extract.encoders import wheel
from keybed.extract.encoders.errors import WeightsRefused, WeightsUnreachable
from keybed.extract.encoders.wheel import TRANSKUN, WheelWeights, fetch, find

CHECKPOINT, CONFIG = b"PK weights", b"{}"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[WheelWeights, Path]:
    """A release of a package of the same layout, its wheel on disk, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "pianoears-3.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("pianoears/pretrained/2.0.pt", CHECKPOINT)
        archive.writestr("pianoears/pretrained/2.0.conf", CONFIG)
    weights = replace(
        TRANSKUN,
        package="pianoears",
        version="3.0",
        wheel_sha256=_sha256(file.read_bytes()),
        checkpoint="pianoears/pretrained/2.0.pt",
        config="pianoears/pretrained/2.0.conf",
        checkpoint_sha256=_sha256(CHECKPOINT),
    )
    return weights, file


def _pip(monkeypatch: pytest.MonkeyPatch, file: Path | None, stderr: str = "") -> list[list[str]]:
    """Replace pip by one that gives this wheel, or fails; returns the commands that it got."""
    commands: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        if file is not None:
            (Path(command[command.index("--dest") + 1]) / file.name).write_bytes(file.read_bytes())
        return subprocess.CompletedProcess(command, 0 if file else 1, "", stderr)

    monkeypatch.setattr(wheel.subprocess, "run", run)
    return commands


def test_pip_brings_the_wheel_alone_once(release: tuple[WheelWeights, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    weights, file = release
    commands = _pip(monkeypatch, file)
    assert fetch(weights) == find(weights) == weights.cached
    assert weights.cached.read_bytes() == CHECKPOINT
    assert weights.cached.with_suffix(".conf").read_bytes() == CONFIG
    assert sorted(path.name for path in weights.cached.parent.iterdir()) == ["2.0.conf", "2.0.pt"]
    fetch(weights)
    ((python, *arguments),) = commands
    assert python == sys.executable
    assert arguments[:3] == ["-m", "pip", "download"]
    assert "--no-deps" in arguments
    assert arguments[-1] == "pianoears==3.0"


def test_a_wheel_from_elsewhere(release: tuple[WheelWeights, Path]) -> None:
    weights, file = release
    assert fetch(weights, file).read_bytes() == CHECKPOINT


def test_a_damaged_file_in_the_cache_is_refused_and_fetched_again(release: tuple[WheelWeights, Path]) -> None:
    weights, file = release
    fetch(weights, file)
    weights.cached.write_bytes(b"PK")
    with pytest.raises(WeightsRefused, match=r"2\.0\.pt has sha256 .*: it is damaged, .* run `keybed fetch pianoears`"):
        find(weights)
    assert fetch(weights, file).read_bytes() == CHECKPOINT


def test_another_wheel_is_refused(release: tuple[WheelWeights, Path]) -> None:
    weights, file = release
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(WeightsRefused, match=r"the wheel of pianoears==3\.0 on PyPI has .*; download it again"):
        fetch(weights, file)
    assert not weights.cached.exists()


def test_a_wheel_that_is_not_there(release: tuple[WheelWeights, Path]) -> None:
    weights, file = release
    with pytest.raises(WeightsUnreachable, match=r"cannot be read .* give the path of the wheel"):
        fetch(weights, file.with_name("absent.whl"))


def test_without_a_network_one_sentence(release: tuple[WheelWeights, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    weights, _ = release
    _pip(monkeypatch, None, "WARNING: retrying\nERROR: No matching distribution found for pianoears==3.0\n")
    with pytest.raises(WeightsUnreachable) as caught:
        fetch(weights)
    assert str(caught.value) == (
        "pianoears: pip could not download pianoears==3.0 (ERROR: No matching distribution found for pianoears==3.0); "
        "where PyPI can be reached run `pip download --no-deps pianoears==3.0`, copy the wheel here and run "
        "`keybed fetch pianoears --wheel FILE`"
    )
    with pytest.raises(WeightsUnreachable, match=r"not on this machine; run `keybed fetch pianoears`"):
        find(weights)


def test_an_installed_package_is_read_and_not_imported(
    release: tuple[WheelWeights, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, file = release
    with zipfile.ZipFile(file) as archive:
        archive.extractall(tmp_path / "site")
    (tmp_path / "site" / "pianoears" / "__init__.py").write_text("raise OSError('libtorchaudio.so')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert find(weights) == tmp_path / "site" / "pianoears" / "pretrained" / "2.0.pt"
    assert "pianoears" not in sys.modules
    (tmp_path / "site" / "pianoears" / "pretrained" / "2.0.pt").write_bytes(b"PK another version")
    with pytest.raises(WeightsRefused, match="of another version"):
        find(weights)


def test_an_installed_package_without_its_weights(
    release: tuple[WheelWeights, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, _ = release
    (tmp_path / "site" / "pianoears").mkdir(parents=True)
    (tmp_path / "site" / "pianoears" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(WeightsUnreachable, match="not on this machine"):
        find(weights)
