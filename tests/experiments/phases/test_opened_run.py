"""`keybed.open_run`: what a finished run says in Python, and that its files fit the committed schemas."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import keybed
from keybed.experiments.data.run_folder import RunDamaged
from keybed.experiments.evaluation.gates import GateRefused
from keybed.store.errors import KeybedError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def folder(made_run) -> Path:
    return made_run()[1]


def test_a_run_is_a_line_and_its_parts_are_those_on_disk(folder):
    run = keybed.open_run(str(folder))
    written = json.loads((folder / "results.json").read_text())
    assert (run.phase, run.path, run.config["seeds"]) == (2, folder, 2)
    assert run.verdict == json.loads((folder / "gate.json").read_text())["verdict"]
    assert run.numbers["seconds"] == 1.0
    assert run.numbers["mean specific r, concat"] == written["mean"]["specific"]["concat"]["value"]
    line = repr(run)
    assert line.startswith(f"<Run {folder}: Phase 2 on 72 rows, {run.verdict}; mean specific r: audio 0.")
    assert line.count("\n") == 0
    assert len(line) < 500


def test_predictions_are_read_when_they_are_asked_for(folder):
    predictions = keybed.open_run(folder).predictions
    with np.load(folder / "predictions.npz") as arrays:
        np.testing.assert_array_equal(predictions.index, arrays["index"])
        np.testing.assert_array_equal(predictions.by_model["audio"], arrays["said/audio"])
    assert repr(predictions).startswith("<SavedPredictions: 72 rows, 2 seeds; audio, ")


def test_a_notebook_shows_the_criteria(folder):
    run = keybed.open_run(folder)
    page = run._repr_html_()
    assert page.count("<tr>") == 1 + len(run.gate.criteria)
    assert all(c.outcome in page for c in run.gate.criteria)


def test_an_unfinished_or_damaged_run_is_named(folder, made_run, tmp_path):
    with pytest.raises(KeybedError, match=r"results\.json is absent: .* is no finished run"):
        keybed.open_run(tmp_path)
    other = made_run()[1]
    (other / "gate.json").unlink()
    with pytest.raises(GateRefused, match=r"gate\.json is absent"):
        keybed.open_run(other)
    (other / "results.json").write_text("{")
    with pytest.raises(RunDamaged, match=r"results\.json is damaged"):
        keybed.open_run(other)


def test_its_files_fit_the_schemas(folder):
    jsonschema = pytest.importorskip("jsonschema", reason="the extra [dev] is not installed whole")
    for file, schema in (("results.json", "phase2.json"), ("gate.json", "gate.json")):
        rules = json.loads((ROOT / "docs" / "schemas" / schema).read_text())
        written = json.loads((folder / file).read_text())
        assert [error.message for error in jsonschema.Draft202012Validator(rules).iter_errors(written)] == []
        written.pop(rules["required"][0])
        assert not jsonschema.Draft202012Validator(rules).is_valid(written)
