"""The whole way from a store to the page, and what is refused."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from keybed.experiments.curve.config import CurveConfig
from keybed.experiments.curve.run import run_curve
from keybed.experiments.data.folds import TooFewPieces
from keybed.experiments.data.run_folder import RunDamaged, RunTaken
from keybed.experiments.reports.report import render
from keybed.store.errors import KeybedError

QUIET = Console(quiet=True)


@pytest.mark.slow
def test_a_curve_rises_with_the_data_and_is_drawn_again_from_its_files(
    make_store: Callable[..., Path], tmp_path: Path
) -> None:
    config = CurveConfig(make_store(80, 2, noise=2.0), tmp_path / "run", draws=2, epochs=4, hidden=16)
    page = run_curve(config, QUIET).read_bytes()
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    ridge = [c["r"]["mean of the seven"]["ridge"]["value"] for c in results["cells"][:5]]
    assert [c["pieces_16"] for c in results["cells"][:5]] == [1, 2, 4, 8, 16]
    assert ridge[0] < ridge[2] < ridge[4]
    assert results["answer"] in re.sub(r"<[^>]+>", "", page.decode())
    assert render(tmp_path / "run").read_bytes() == page
    first, *others = sorted((tmp_path / "run" / "cells").glob("*.npz"))
    assert len(others) == 7
    first.unlink()  # as after a stop: the other cells are read
    before = {path: path.stat().st_mtime_ns for path in others}
    run_curve(config, QUIET)
    again = json.loads((tmp_path / "run" / "results.json").read_text())
    assert again["cells"] == results["cells"]
    assert before == {path: path.stat().st_mtime_ns for path in others}
    with pytest.raises(RunTaken):
        run_curve(replace(config, epochs=5), QUIET)
    np.savez(first, nothing=np.zeros(3))
    with pytest.raises(RunDamaged, match="its arrays are others than a cell has"):
        run_curve(config, QUIET)


def test_too_few_pieces_and_half_of_the_ratings_are_refused_and_leave_no_folder(
    make_store: Callable[..., Path], tmp_path: Path
) -> None:
    config = CurveConfig(make_store(10, 4), tmp_path / "run")
    with pytest.raises(TooFewPieces, match="needs 16 of them in every fold; the smallest fold has 6"):
        run_curve(config, QUIET)
    with pytest.raises(KeybedError, match="--percepiano and --after go together"):
        run_curve(replace(config, percepiano=tmp_path), QUIET)
    with pytest.raises(KeybedError, match="--percepiano and --after go together"):
        run_curve(replace(config, after=tmp_path), QUIET)
    assert not (tmp_path / "run").exists()
