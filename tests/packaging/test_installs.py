"""An editable and a wheel install both give the real packages, even beside folders of the same plain names."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("extract", "store", "heads", "experiments")
LOCATE = """
import json, extract, store, heads, experiments
print(json.dumps([room.__file__ for room in (extract, store, heads, experiments)]))
"""


def call(*command: object, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of what a build needs, so that building leaves nothing in the checkout."""
    folder = tmp_path_factory.mktemp("checkout")
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
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
    for name in ("store", "heads"):
        (place / name).mkdir(parents=True)
        (place / name / "data.txt").write_text("not code\n")
    return python, place


def check(python: Path, place: Path, home: Path) -> None:
    found = json.loads(call(python, "-c", LOCATE, cwd=place))
    assert found == [str(home / room / "__init__.py") for room in ROOMS]
    shown = call(python.with_name("keybed"), "--help", cwd=place)
    assert all(f"{command}" in shown for command in ("plan", "extract", "status", "verify", "demo"))


def test_editable_install(source, fresh):
    python, place = fresh
    pip_install(python, ["--editable", source], place)
    check(python, place, source)


def test_wheel_install(source, fresh, tmp_path):
    python, place = fresh
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    call(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", tmp_path, source, cwd=place)
    (wheel,) = tmp_path.glob("keybed-*.whl")
    pip_install(python, [wheel], place)
    site = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=place).strip())
    check(python, place, site)
    # Every file of the rooms travels, templates and pages included, and nothing else.
    files = {str(path.relative_to(source)) for room in ROOMS for path in (source / room).rglob("*") if path.is_file()}
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == files
