"""A store of degradation version 1 runs through Phase 2, and the report names the traces that its rows carry."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from keybed import store as stores
from keybed.experiments.phases.run_before import check_run_before
from keybed.experiments.reports.report import render
from keybed.extract.degrade.parameters import CODE_VERSION, TRACES


def test_a_run_on_rows_of_version_1_says_what_tells_them_from_pristine_ones(
    made_run: Callable[..., tuple[Path, Path]],
) -> None:
    store, run = made_run()
    assert stores.open(store).recipe.degradation.get("code_version", 1) == 1
    page = re.sub(r"<[^>]+>", "", render(run).read_text())
    assert "Old degradation." in page
    assert "Degradation version 1: leaves traces that a machine can tell" in page
    assert "ticks of the file in pristine rows alone" in page
    check_run_before(run, 2, stores.open(store).fingerprint, "a test")


def test_the_present_version_has_no_known_traces_of_its_own() -> None:
    assert sorted(TRACES) == list(range(1, CODE_VERSION))
