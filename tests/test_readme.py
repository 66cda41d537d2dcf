"""What README.md and its sisters tell people to type and to open must be right."""

from __future__ import annotations

import inspect
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from keybed.experiments.cli.main import parser

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "slurm/README.md",
    "experiments/FINDINGS.md",
)


def _pages() -> list[Path]:
    return [ROOT / name for name in PAGES if (ROOT / name).is_file()]


def _commands(program: str) -> list[tuple[str, str]]:
    found = []
    for page in _pages():
        for block in re.findall(r"```(?:bash)?\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                command = line.split(" #")[0].strip()
                if command.startswith(program + " "):
                    found.append((page.name, command))
    return found


@pytest.mark.parametrize(("page", "command"), _commands("keybed"))
def test_every_keybed_command_parses(page, command):
    options = parser().parse_args(shlex.split(command)[1:])
    assert callable(options.run), page


def test_the_way_through_is_told_in_full():
    told = {shlex.split(command)[1] for page, command in _commands("keybed") if page == "README.md"}
    assert {"plan", "extract", "status", "verify", "sensitivity", "phase2"} <= told


@pytest.mark.parametrize(("page", "command"), _commands("make"))
def test_every_make_target_exists(page, command):
    target = shlex.split(command)[1]
    assert re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(), re.MULTILINE), (page, command)


@pytest.mark.parametrize("page", _pages(), ids=lambda page: page.name)
def test_every_relative_link_resolves(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


EXAMPLES = {"extract/encoders/muq.py", "extract/encoders/muq_model.py"}
"""Files that a page proposes to write."""


@pytest.mark.parametrize("page", _pages(), ids=lambda page: page.name)
def test_every_named_file_exists(page):
    text = page.read_text(encoding="utf-8")
    named = (
        set(re.findall(r"`((?:experiments|slurm|store|heads|extract|tests|\.ci)/[\w/]+(?:\.\w+)?)`", text)) - EXAMPLES
    )
    assert named or page not in (ROOT / "README.md", ROOT / "ARCHITECTURE.md")
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_extra_that_pip_is_told_of_exists():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    told = {name for page in _pages() for name in re.findall(r"'\.\[(\w+)\]'", page.read_text(encoding="utf-8"))}
    assert {"extract", "heads", "all"} <= told <= set(extras)


def test_the_example_encoder_fits_the_real_interfaces():
    """What ARCHITECTURE.md says of a new encoder holds for MERT: describe's signature, and every function named."""
    from keybed.extract.encoders import registry
    from keybed.extract.encoders.mert import spec as mert

    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"`describe\(\*, ([\w, ]+)\)", text)
    assert told.split(", ") == list(inspect.signature(mert.describe).parameters)
    assert "_build_muq(spec, file) -> Encoder`" in text
    assert list(inspect.signature(registry._build_mert).parameters) == ["spec", "file"]
    named = set(re.findall(r"\b(pooling|device|weights)\.(\w+)", text))
    assert len(named) >= 8
    for module, name in sorted(named):
        (path,) = (ROOT / "extract" / "encoders").rglob(f"{module}.py")
        source = path.read_text()
        assert re.search(rf"^(def {name}\(|{name} = )", source, re.MULTILINE), (module, name)
