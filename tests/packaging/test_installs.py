"""An editable and a wheel install both give the real packages, even beside folders of the same plain names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
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
    """An empty environment that sees this one's libraries (but not its keybed), and a folder of a user whose names must not hide keybed's."""
    call(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    site = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "libraries.pth").write_text("\n".join(sorted(libraries)) + "\n")
    folder = tmp_path / "folder"
    for name in HIDING_NAMES:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise ImportError('a folder of the user')\n")
    (folder / "store.py").write_text("raise ImportError('a file of the user')\n")
    return python, folder


def check(python: Path, folder: Path, home: Path) -> None:
    located = json.loads(call(python, "-c", LOCATE, cwd=folder))
    assert located == [str(home / "keybed" / part / "__init__.py") for part in ("", *FOLDERS)]
    shown = call(python.with_name("keybed"), "--help", cwd=folder)
    assert all(f"{command}" in shown for command in ("plan", "extract", "status", "verify", "slurm", "demo"))


def run_the_commands(keybed: list[object], folder: Path, maestro: Path) -> None:
    """From a corpus to a verified store, and the batch files, with the commands of README in the folder of a user."""
    encoders = ("--encoders", "placeholder-audio,placeholder-midi")
    planned = call(*keybed, "plan", maestro, "my-store", *encoders, "--limit", 5, "--shard-rows", 4, cwd=folder)
    assert "20 rows" in planned
    assert "0 of 20 rows" in " ".join(call(*keybed, "status", "my-store", cwd=folder).split())
    assert "made 5 shards, 20 rows" in call(*keybed, "extract", "my-store", "--workers", 1, cwd=folder)
    assert "shards are whole and sound" in call(*keybed, "verify", "my-store", cwd=folder)
    assert "placeholder-audio" in call(*keybed, "info", "my-store", cwd=folder)
    assert "sbatch" in call(*keybed, "slurm", "my-scripts", cwd=folder)
    for script in ("plan", "extract", "verify", "experiment"):
        copied = (folder / "my-scripts" / f"{script}.sbatch").read_bytes()
        assert copied == (ROOT / "slurm" / f"{script}.sbatch").read_bytes()


def test_editable_install(source, fresh, tiny_maestro):
    python, folder = fresh
    pip_install(python, ["--editable", source], folder)
    check(python, folder, source)
    run_the_commands([python.with_name("keybed")], folder, tiny_maestro)


def build(target: str, source: Path, folder: Path) -> Path:
    """Build an sdist or a wheel of the folder `source` with hatchling; returns the file."""
    folder.mkdir()
    call(sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", folder, cwd=source)
    (built,) = folder.iterdir()
    return built


def packed(wheel: Path) -> dict[str, int]:
    """Name → CRC of every file of a wheel."""
    return {entry.filename: entry.CRC for entry in zipfile.ZipFile(wheel).infolist()}


def test_wheel_install(source, fresh, tmp_path, tiny_maestro):
    python, folder = fresh
    wheel = build("wheel", source, tmp_path / "wheel")
    pip_install(python, [wheel], folder)
    site = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    check(python, folder, site)
    run_the_commands([python, "-m", "keybed"], folder, tiny_maestro)
    glossary = "from keybed.experiments.glossary import marks, terms; marks.style(), marks.script()"
    call(python, "-c", f"{glossary}; assert len(terms.entries()) > 60", cwd=folder)


@pytest.mark.slow
@pytest.mark.long
def test_pipx_installs_the_wheel(source, tmp_path):
    """With the libraries that it needs, from the package index."""
    if shutil.which("pipx") is None:
        pytest.skip("pipx is not installed")
    wheel = build("wheel", source, tmp_path / "wheel")
    env = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "PIPX_HOME": str(tmp_path / "home"),
        "PIPX_BIN_DIR": str(tmp_path / "bin"),
        "PIPX_DEFAULT_PYTHON": sys.executable,
    }
    command = ["pipx", "install", f"--pip-args=--quiet -c {ROOT / 'constraints.txt'}", str(wheel)]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    shown = subprocess.run([tmp_path / "bin" / "keybed", "--version"], env=env, capture_output=True, text=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert shown.stdout == f"keybed {project['version']}\n", shown.stderr


def test_a_wheel_holds_every_file_but_the_benchmarks(source, tmp_path):
    """Templates, pages and batch files travel; benchmarks measure the checkout and stay there."""
    wanted = {"keybed/__init__.py", "keybed/__main__.py", "keybed/py.typed"}
    for folder in (*FOLDERS, "slurm"):
        # Other tests import from this copy, which leaves bytecode in it.
        found = (path for path in (source / folder).rglob("*") if path.is_file() and path.suffix != ".pyc")
        files = (path.relative_to(source) for path in found)
        wanted |= {f"keybed/{path}" for path in files if path.parts[:2] != ("experiments", "benchmarks")}
    wheel = build("wheel", source, tmp_path / "wheel")
    assert {name for name in packed(wheel) if ".dist-info/" not in name} == wanted


def test_a_wheel_from_the_sdist_is_the_wheel_from_the_tree(source, tmp_path):
    sdist = build("sdist", source, tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert packed(build("wheel", unpacked, tmp_path / "second")) == packed(build("wheel", source, tmp_path / "first"))
