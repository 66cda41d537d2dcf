"""Every command and Python block of the pages runs, in the order of the page, in a folder made for it.

The names that pages use are links or folders there: MAESTRO_DIR is a composed corpus, STORE a filled store, where the page
does not make its own. A command that cannot run here is in LEFT_OUT with the reason.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = {
    r"make \w+": "`.ci/run` runs the targets themselves",
    r"\. \.venv/bin/activate": "the tests run in an environment",
    r"keybed extend STORE --encoders muq.*": "MuQ's weights come from a hub; loopback tests cover it",
}
"""Regular expressions of whole commands that are not run, and why."""


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, text) of a page's bash and Python blocks, in order."""
    return re.findall(r"^```(bash|python)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(block: str) -> list[str]:
    """The commands of a bash block, without comments, long ones on one line."""
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in block.replace("\\\n", " ").splitlines())
    return [re.sub(r" +", " ", line) for line in lines if line]


def run(page: Path, folder: Path, **renamed: str) -> int:
    """Run a page's blocks in `folder`; `renamed` words are replaced first. Returns how many commands and blocks ran."""
    executables = folder.parent / "bin"
    executables.mkdir(exist_ok=True)
    keybed = executables / "keybed"
    keybed.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m keybed "$@"\n')
    keybed.chmod(0o755)
    env = {**os.environ, "PATH": f"{executables}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    env["PYTHONPATH"] = str(ROOT)
    ran = 0
    for language, text in blocks(page):
        for old, new in renamed.items():
            text = text.replace(old, new)
        steps = [["bash", "-euo", "pipefail", "-c", c] for c in commands(text) if not left_out(c)]
        for step in [[sys.executable, "-W", "error", "-c", text]] if language == "python" else steps:
            done = subprocess.run(step, cwd=folder, env=env, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{page.name}: {step[-1]}\n{done.stdout}\n{done.stderr}"
            ran += 1
    return ran


def left_out(command: str) -> bool:
    return any(re.fullmatch(pattern, command) for pattern in LEFT_OUT)


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A composed corpus in MAESTRO's layout."""
    from keybed.extract.demo.corpus import write_demo_corpus

    return write_demo_corpus(tmp_path_factory.mktemp("composed") / "corpus", seed=0)


@pytest.fixture(scope="module")
def filled(keybed, composed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filled store of 48 rows with the two baselines."""
    path = tmp_path_factory.mktemp("filled") / "store"
    keybed("plan", composed, path, "--encoders", "logmel,expressive", "--limit", "12")
    keybed("extract", path)
    return path


@pytest.fixture
def place(tmp_path: Path, composed: Path) -> Path:
    """An empty folder in which MAESTRO_DIR is the corpus."""
    folder = tmp_path / "place"
    folder.mkdir()
    (folder / "MAESTRO_DIR").symlink_to(composed)
    return folder


def test_commands_are_read_as_a_shell_reads_them():
    block = "keybed plan A B   # a comment\nkeybed x \\\n    --y '#1'\n\n# only a comment\n"
    assert commands(block)[0] == "keybed plan A B"
    assert commands(block)[1].startswith("keybed x --y '")
    assert left_out("make demo")
    assert not left_out("make demo && keybed plan")


def test_every_reader_reads_the_store(place: Path, filled: Path):
    (place / "STORE").symlink_to(filled)
    assert run(ROOT / "docs" / "readers.md", place) == 5


@pytest.mark.slow
def test_the_readme_runs(place: Path):
    assert run(ROOT / "README.md", place) >= 6


@pytest.mark.slow
@pytest.mark.long
def test_the_tutorial_runs(place: Path):
    """With a demo of 8 segments in place of 24."""
    page = (ROOT / "docs" / "tutorial.md").read_text()
    assert "make demo\n" in page
    shorter = {"24-segments": "8-segments", "make demo\n": "keybed demo --rows 32\n"}
    assert run(ROOT / "docs" / "tutorial.md", place, **shorter) >= 7
