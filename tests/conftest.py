"""Fixtures that every room's tests share, and which of the slow tests run."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("keybed")
    group.addoption("--slow", choices=("none", "tenth", "all"), default="none", help="which tests over 20 s to run")
    group.addoption("--slow-seed", default=None, help="draws the tenth; default: the commit, so that it moves on")


def _seed(config: pytest.Config) -> str:
    given: str | None = config.getoption("--slow-seed")
    if given is None:
        command = ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]
        given = subprocess.run(command, capture_output=True, text=True).stdout.strip() or "0"
    return given


def pytest_report_header(config: pytest.Config) -> str:
    which = config.getoption("--slow")
    return f"slow tests: {which}" + (f" (--slow-seed {_seed(config)})" if which == "tenth" else "")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out slow tests, or all but a seeded tenth of them. A slow test asked for by its full name always runs."""
    which = config.getoption("--slow")
    slow = sorted(item.nodeid for item in items if item.get_closest_marker("slow"))
    named = {argument for argument in config.args if "::" in argument}
    if which == "all" or not slow:
        return
    tenth = -(-len(slow) // 10) if which == "tenth" else 0
    drawn = set(random.Random(_seed(config)).sample(slow, tenth)) if tenth else set()
    out = [
        item
        for item in items
        if item.nodeid in set(slow) - drawn and not named & {item.nodeid, item.nodeid.partition("[")[0]}
    ]
    config.hook.pytest_deselected(items=out)
    left_out = set(map(id, out))
    items[:] = [item for item in items if id(item) not in left_out]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real performances, ratings and goldens; skipped where absent, a failure in CI."""
    folder = ROOT.parent / "shared" / "data"
    if folder.is_dir():
        return folder
    if os.environ.get("CI") == "true":
        pytest.fail(f"{folder} is absent in CI")
    pytest.skip(f"{folder} is absent: tests on real data are left out")
