"""The Containerfile: what it copies exists, its extras exist, and where a builder exists, its image runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Containerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_everything_that_a_wheel_needs_is_copied_and_allowed():
    copied = {name for line in re.findall(r"^COPY (.*) \S+$", TEXT, re.MULTILINE) for name in line.split()}
    assert all((ROOT / name).exists() for name in copied)
    links = {path.name for path in (ROOT / "keybed").iterdir() if path.is_symlink()}
    assert links <= copied
    sdist = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["only-include"]
    assert set(sdist) <= copied
    ignore = (ROOT / ".containerignore").read_text(encoding="utf-8").split()
    assert ignore[0] == "*"
    assert {line[1:] for line in ignore if line.startswith("!")} == copied


def test_its_extras_and_python_are_those_of_the_project():
    extras = PROJECT["project"]["optional-dependencies"]
    named = re.search(r"^# EXTRAS: (.*); several with commas\.$", TEXT, re.MULTILINE)
    assert named is not None
    assert {re.split(r"[ (]", part.strip())[0] for part in re.sub(r"\([^)]*\)", "", named[1]).split(",")} == (
        set(extras) - {"dev", "docs"}
    )
    assert re.search(r"^ARG EXTRAS=(\w+)$", TEXT, re.MULTILINE)[1] in extras
    python = re.search(r"^ARG PYTHON=3\.(\d+)$", TEXT, re.MULTILINE)
    least = re.search(r">=3\.(\d+)", PROJECT["project"]["requires-python"])
    assert int(python[1]) >= int(least[1])


def builder() -> list[str] | None:
    """A program that builds images here: podman or buildah, or docker where its daemon answers."""
    for name in ("podman", "buildah"):
        if shutil.which(name):
            return [name]
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True).returncode == 0:
        return ["docker"]
    return None


@pytest.mark.slow
@pytest.mark.long
def test_the_image_runs():
    """Built with the extra `tables`, the smallest; needs a registry and the package index."""
    found = builder()
    if found is None:
        pytest.skip("no podman, buildah or running docker")
    command = [*found, "build", "-t", "keybed-test", "-f", "Containerfile", "--build-arg", "EXTRAS=tables", "."]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    if found != ["buildah"]:
        done = subprocess.run([*found, "run", "--rm", "keybed-test", "--version"], capture_output=True, text=True)
        assert done.stdout == f"keybed {PROJECT['project']['version']}\n"
