"""Runs side by side: what is compared, and that everything left out is named."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from keybed.experiments.evaluation.gate_chain import ChainBroken, checksums
from keybed.experiments.evaluation.gates import read_gate, write_gate
from keybed.experiments.evaluation.saved_predictions import PREDICTIONS
from keybed.experiments.phases.compare import NotComparable, compare, run_compare
from keybed.experiments.phases.config import CompareConfig

Made = Callable[..., tuple[Path, Path]]


def without(run: Path, kept: Callable[[str, np.ndarray], np.ndarray | None]) -> None:
    """Rewrite the run's predictions with what `kept` returns, and its gate with their checksum."""
    with np.load(run / PREDICTIONS) as arrays:
        changed = {name: kept(name, arrays[name]) for name in arrays.files}
    np.savez(run / PREDICTIONS, **{name: values for name, values in changed.items() if values is not None})
    gate = read_gate(run)
    rests_on = gate.rests_on | checksums(run, gate.rests_on["store"], [PREDICTIONS])
    write_gate(run, replace(gate, rests_on=rests_on))


def test_seeds_rows_and_models_that_are_left_out_are_named(made_run: Made, tmp_path: Path) -> None:
    _, three = made_run(seeds=3)
    _, two = made_run(seeds=2)

    def smaller(name: str, values: np.ndarray) -> np.ndarray | None:
        if name == "said/gated":
            return None
        return values[:, 4:] if name.startswith("said/") else values[4:]

    without(two, smaller)
    comparison = compare([three, two])
    assert (comparison.seeds, comparison.rows) == (2, 68)
    assert comparison.left_out == (
        "1 of the 3 seeds of phase2-3-seeds; the first 2 are compared",
        "4 of the 72 rows of phase2-3-seeds, which another run did not predict",
        "fusion: gated, which only phase2-3-seeds has",
    )
    written = io.StringIO()
    run_compare(CompareConfig((three, two), tmp_path / "out.json"), Console(file=written, width=200))
    for words in comparison.left_out:
        assert words in written.getvalue()
    assert json.loads((tmp_path / "out.json").read_text())["left_out"] == list(comparison.left_out)


def test_nothing_is_left_out_of_equal_runs(made_run: Made) -> None:
    _, run = made_run()
    comparison = compare([run, run])
    assert comparison.left_out == ()
    assert all(rows[1].difference is not None and rows[1].difference.value == 0 for rows in comparison.models.values())


def test_predictions_of_another_run_are_refused(made_run: Made) -> None:
    _, run = made_run()
    _, other = made_run(seeds=3)
    (run / PREDICTIONS).write_bytes((other / PREDICTIONS).read_bytes())
    with pytest.raises(ChainBroken, match=r"predictions\.npz is not what"):
        compare([other, run])


def test_a_wrong_out_is_refused_before_anything_is_computed(made_run: Made, tmp_path: Path) -> None:
    _, run = made_run()
    with pytest.raises(NotComparable, match=r"there is no folder .*nowhere; make it first"):
        run_compare(CompareConfig((run, run), tmp_path / "nowhere" / "out.json"), Console(quiet=True))


def test_runs_without_a_common_model_are_not_comparable(made_run: Made) -> None:
    (_, one), (_, two) = made_run(), made_run()
    without(one, lambda name, values: values if not name.startswith("said/") or name == "said/audio" else None)
    without(two, lambda name, values: values if not name.startswith("said/") or name == "said/midi" else None)
    with pytest.raises(NotComparable, match="no model"):
        compare([one, two])
