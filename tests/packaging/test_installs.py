"""An editable and a wheel install both give the real packages, even beside folders of the same plain names."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("extract", "store", "heads", "experiments")
LOCATE = """
import json, keybed, keybed.extract, keybed.store, keybed.heads, keybed.experiments
print(json.dumps([m.__file__ for m in (keybed, keybed.extract, keybed.store, keybed.heads, keybed.experiments)]))
"""
HIDING_NAMES = ("store", "heads", "extract", "experiments")
"""Folders of a user that must hide nothing of keybed."""


def call(*command: object, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of what a build needs, so that building leaves nothing in the checkout."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in (*FOLDERS, "slurm", "keybed"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def pip_install(python: Path, what: list[object], cwd: Path) -> None:
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    call(sys.executable, "-m", "pip", "--python", python, "install", *options, *what, cwd=cwd)


@pytest.fixture
def fresh(tmp_path) -> tuple[Path, Path]:
    """An empty environment that sees this one's libraries (but not its keybed), and a folder with treacherous names."""
    call(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    site = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "libraries.pth").write_text("\n".join(sorted(libraries)) + "\n")
    place = tmp_path / "place"
    for name in HIDING_NAMES:
        (place / name).mkdir(parents=True)
        (place / name / "__init__.py").write_text("raise ImportError('a folder of the user')\n")
    (place / "store.py").write_text("raise ImportError('a file of the user')\n")
    return python, place


def check(python: Path, place: Path, home: Path) -> None:
    found = json.loads(call(python, "-c", LOCATE, cwd=place))
    assert found == [str(home / "keybed" / part / "__init__.py") for part in ("", *FOLDERS)]
    shown = call(python.with_name("keybed"), "--help", cwd=place)
    assert all(f"{command}" in shown for command in ("plan", "extract", "status", "verify", "demo"))


def test_editable_install(source, fresh):
    python, place = fresh
    pip_install(python, ["--editable", source], place)
    check(python, place, source)


def build(target: str, source: Path, folder: Path) -> Path:
    """Build an sdist or a wheel of the folder `source` with hatchling; returns the file."""
    folder.mkdir()
    call(sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", folder, cwd=source)
    (built,) = folder.iterdir()
    return built


def packed(wheel: Path) -> dict[str, int]:
    """Name → CRC of every file of a wheel."""
    return {entry.filename: entry.CRC for entry in zipfile.ZipFile(wheel).infolist()}


def test_wheel_install(source, fresh, tmp_path):
    python, place = fresh
    wheel = build("wheel", source, tmp_path / "wheel")
    pip_install(python, [wheel], place)
    site = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=place).strip())
    check(python, place, site)


def test_a_wheel_holds_every_file_but_the_benchmarks(source, tmp_path):
    """Templates, pages and batch files travel; benchmarks measure the checkout and stay there."""
    wanted = {"keybed/__init__.py", "keybed/__main__.py", "keybed/py.typed"}
    for folder in (*FOLDERS, "slurm"):
        files = (path.relative_to(source) for path in (source / folder).rglob("*") if path.is_file())
        wanted |= {f"keybed/{path}" for path in files if path.parts[:2] != ("experiments", "benchmarks")}
    wheel = build("wheel", source, tmp_path / "wheel")
    assert {name for name in packed(wheel) if ".dist-info/" not in name} == wanted


def test_a_wheel_from_the_sdist_is_the_wheel_from_the_tree(source, tmp_path):
    sdist = build("sdist", source, tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert packed(build("wheel", unpacked, tmp_path / "second")) == packed(build("wheel", source, tmp_path / "first"))
