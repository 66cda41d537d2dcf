"""`--slow` picks what CONTRIBUTING.md says: nothing slow, a seeded tenth, everything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SUITE = """
import pytest

@pytest.mark.slow
@pytest.mark.parametrize("i", range(25))
def test_slow(i): pass

def test_fast(): pass
"""


@pytest.fixture
def collect(tmp_path):
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow: takes over 20 s\n")

    def run(*options: str) -> set[str]:
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *options]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return {line.partition("::")[2] for line in done.stdout.splitlines() if "::" in line}

    return run


def test_what_runs(collect: object, tmp_path: Path) -> None:
    every = {"test_fast", *(f"test_slow[{i}]" for i in range(25))}
    assert collect() == {"test_fast"}
    assert collect("--slow", "all") == every
    one, two = (collect("--slow", "tenth", "--slow-seed", seed) for seed in "12")
    assert len(one) == len(two) == 1 + 3
    assert one != two
    assert one == collect("--slow", "tenth", "--slow-seed", "1")
    assert collect("test_suite.py::test_slow[7]") == {"test_slow[7]"}
