"""From a MAESTRO folder to a verdict through the command line, one process a step, with the two placeholder encoders."""

from __future__ import annotations

import json

import pytest

from keybed import store as stores
from keybed.store.format.vocabulary import DIMENSIONS

HEADS = {"audio", "midi", "concat", "cross"}


@pytest.mark.slow
def test_a_corpus_becomes_a_verdict(keybed, finished_placeholder_store, tmp_path):
    """`finished_placeholder_store` is `keybed plan` and `keybed extract` of a corpus of six pieces."""
    path, run = finished_placeholder_store, tmp_path / "run"
    assert "60 of 60 rows" in keybed("status", path).stdout
    keybed("verify", path)
    asked = ("--audio", "placeholder-audio", "--midi", "placeholder-midi")
    small = ("--epochs", "1", "--seeds", "1", "--hidden", "8", "--folds", "3")
    printed = keybed("phase2", path, "--out", run, *asked, *small).stdout
    results, gate = (json.loads((run / name).read_text()) for name in ("results.json", "gate.json"))

    store = stores.open(path)
    pieces_of = {name: set(store.rows(split=name).piece.tolist()) for name in ("train", "validation", "test")}
    assert not pieces_of["train"] & pieces_of["test"]
    assert results["store"]["fingerprint"] == gate["rests_on"]["store"] == store.fingerprint
    assert results["test_split"]["rows"] == len(store.rows(split="test"))
    assert set(results["test_split"]["plain"]["table"]) >= HEADS
    for head in HEADS:
        assert set(results["plain"][head]) == set(DIMENSIONS)
        assert "pristine>poor" in results["ordering"][head]
    assert gate["verdict"] in ("GO", "NO-GO", "UNDEFINED")
    assert all(criterion["arithmetic"] for criterion in gate["criteria"])
    page = (run / "report.html").read_text()
    assert gate["verdict"] in page
    assert "note accuracy" in page
    assert f"report: {run / 'report.html'}" in printed.replace("\n", "")

    if gate["verdict"] != "GO":
        refused = keybed("phase3", path, "--after", run, "--out", tmp_path / "three", status=1)
        assert "--override" in refused.stderr
