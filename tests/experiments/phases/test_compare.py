"""Runs side by side: what is compared, and that everything left out is named."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from keybed.experiments.cli.render_any import render_any
from keybed.experiments.data.json_codec import from_json, plain
from keybed.experiments.data.run_folder import RunTaken
from keybed.experiments.evaluation.comparison_results import Comparison
from keybed.experiments.evaluation.gate_chain import ChainBroken, checksums
from keybed.experiments.evaluation.gates import read_gate, write_gate
from keybed.experiments.evaluation.saved_predictions import PREDICTIONS
from keybed.experiments.phases.compare import NotComparable, _to_first, compare, run_compare
from keybed.experiments.phases.config import CompareConfig
from keybed.experiments.reports.comparison_page import write_comparison_page
from keybed.experiments.reports.page import with_interval

ROOT = Path(__file__).resolve().parents[3]
KNOWS = {"audio": 0.5, "midi": 0.4, "concat": 0.8, "cross": 0.7, "gated": 0.6}
"""Those of `made_run`."""
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
    run_compare(CompareConfig((three, two), tmp_path / "a" / "out"), Console(file=written, width=200))
    for words in comparison.left_out:
        assert words in written.getvalue()
    data = json.loads((tmp_path / "a" / "out" / "results.json").read_text())
    assert data["left_out"] == list(comparison.left_out)
    assert "report: " in written.getvalue()


def test_nothing_is_left_out_of_equal_runs(made_run: Made) -> None:
    _, run = made_run()
    comparison = compare([run, run])
    assert comparison.left_out == ()
    assert all(rows[1].difference is not None and rows[1].difference.value == 0 for rows in comparison.models.values())


def test_equal_predictions_differ_by_nothing_also_after_rounding() -> None:
    shared = np.array([[0.1 + 0.2, 0.3, 0.3 + 1e-15, 0.31]])
    assert _to_first(shared).tolist() == [[0.0, 0.0, 0.0, pytest.approx(0.01)]]


def test_predictions_of_another_run_are_refused(made_run: Made) -> None:
    _, run = made_run()
    _, other = made_run(seeds=3)
    (run / PREDICTIONS).write_bytes((other / PREDICTIONS).read_bytes())
    with pytest.raises(ChainBroken, match=r"predictions\.npz is not what"):
        compare([other, run])


def test_a_page_shows_what_differs_and_is_written_again_from_its_results(made_run: Made, tmp_path: Path) -> None:
    _, first = made_run()
    _, second = made_run(seeds=3, knows={**KNOWS, "concat": 0.1, "cross": 0.1, "gated": 0.1})
    out = tmp_path / "out"
    comparison = run_compare(CompareConfig((first, second), out), Console(quiet=True))
    assert comparison.different == {"seeds predicted": ("2", "3"), "--seeds": ("2", "3")}
    assert comparison.same["encoders"] == "test-audio and test-midi, frames view"
    row = comparison.models["concat"][1]
    each = [r.value for r in row.by_dimension.values()]
    assert len(each) == 7
    assert row.difference is not None
    assert np.mean(each) == pytest.approx(row.difference.value)
    assert row.difference.high < 0
    page = (out / "report.html").read_text()
    text = re.sub("<[^>]+>", "", page)  # terms are marked
    assert "First run better" in text
    assert f"difference {with_interval(comparison.models['best_fusion'][1].difference)}: {first.name} is better" in text
    assert "--seeds" in text
    assert page.count("<svg role") == 2
    data = json.loads((out / "results.json").read_text())
    schema = json.loads((ROOT / "docs" / "schemas" / "comparison.json").read_text())
    pytest.importorskip("jsonschema").Draft202012Validator(schema).validate(data)
    assert plain(from_json(Comparison, data, out)) == data
    assert render_any(out, None).read_text() == page
    run_compare(CompareConfig((first, second), out), Console(quiet=True))  # its own folder may be written again


def test_a_comparison_on_composed_music_or_random_weights_says_so_first(made_run: Made, tmp_path: Path) -> None:
    _, run = made_run()
    comparison = replace(compare([run, run]), composed=True, random_encoders=("mert",))
    text = re.sub("<[^>]+>", "", write_comparison_page(comparison, tmp_path / "report.html").read_text())
    assert text.index("composed and performed by a program") < text.index("No difference shown")
    assert "mert: seeded random weights" in text


def test_a_wrong_out_is_refused_before_anything_is_computed(made_run: Made, tmp_path: Path) -> None:
    _, run = made_run()
    with pytest.raises(NotComparable, match=r"out\.json: give a folder"):
        run_compare(CompareConfig((run, run), tmp_path / "out.json"), Console(quiet=True))
    with pytest.raises(RunTaken, match=r"holds another run \(config\.json\): give another --out"):
        run_compare(CompareConfig((run, run), run), Console(quiet=True))


def test_runs_without_a_common_model_are_not_comparable(made_run: Made) -> None:
    (_, one), (_, two) = made_run(), made_run()
    without(one, lambda name, values: values if not name.startswith("said/") or name == "said/audio" else None)
    without(two, lambda name, values: values if not name.startswith("said/") or name == "said/midi" else None)
    with pytest.raises(NotComparable, match="no model"):
        compare([one, two])
