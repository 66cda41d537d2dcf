"""A gate is computed again when it is read: an edited verdict, outcome, threshold or value is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keybed import store as stores
from keybed.experiments.evaluation import criterion_names as names
from keybed.experiments.evaluation.gate_chain import ChainBroken
from keybed.experiments.evaluation.gates import GateAltered, GateRefused, read_gate
from keybed.experiments.phases.run_before import check_run_before
from keybed.experiments.reports.report import render

Made = Callable[..., tuple[Path, Path]]


def edit(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change gate.json by hand."""
    path = run / "gate.json"
    gate = json.loads(path.read_text())
    change(gate)
    del gate["sha256"]
    path.write_text(json.dumps(gate))


def of(gate: dict[str, Any], name: str) -> dict[str, Any]:
    """A criterion of gate.json."""
    return next(c for c in gate["criteria"] if c["name"] == name)


@pytest.fixture
def no_go(made_run: Made) -> tuple[Path, str]:
    """A run of Phase 2 that says NO-GO, and its store's fingerprint."""
    store, run = made_run()
    assert read_gate(run).verdict == "NO-GO"
    return run, stores.open(store).fingerprint


def test_an_untouched_gate_is_read_and_asks_for_an_override(no_go: tuple[Path, str]) -> None:
    run, fingerprint = no_go
    with pytest.raises(GateRefused, match="says NO-GO"):
        check_run_before(run, 2, fingerprint, None)
    _, overrides = check_run_before(run, 2, fingerprint, "a test")
    assert overrides[-1].reason == "a test"


def test_a_no_go_edited_to_go_is_refused_by_every_reader(no_go: tuple[Path, str]) -> None:
    run, fingerprint = no_go
    edit(run, lambda gate: gate.update(verdict="GO"))
    for read in (read_gate, render, lambda run: check_run_before(run, 2, fingerprint, "a test")):
        with pytest.raises(
            GateAltered, match=r"gate\.json: the verdict GO does not follow.*which give NO-GO.*run Phase 2"
        ):
            read(run)


def test_an_outcome_that_does_not_follow_from_value_and_bound_is_refused(no_go: tuple[Path, str]) -> None:
    run, _ = no_go

    def all_pass(gate: dict[str, Any]) -> None:
        gate["verdict"] = "GO"
        for criterion in gate["criteria"]:
            criterion["outcome"] = "pass"

    edit(run, all_pass)
    with pytest.raises(GateAltered, match=r"criterion “.*” says pass, but its value gives .*: fail \("):
        read_gate(run)


def lower_threshold(gate: dict[str, Any]) -> None:
    for criterion in gate["criteria"]:
        criterion.update(threshold="≥ 0", outcome="pass", value=1.0)
    gate["verdict"] = "GO"


def failing_left_out(gate: dict[str, Any]) -> None:
    gate["criteria"] = [c for c in gate["criteria"] if c["outcome"] == "pass"]
    gate["verdict"] = "GO"


def failing_not_required(gate: dict[str, Any]) -> None:
    for criterion in gate["criteria"]:
        criterion["required"] = criterion["outcome"] == "pass"
    gate["verdict"] = "GO"


@pytest.mark.parametrize("change", [lower_threshold, failing_left_out, failing_not_required])
def test_criteria_that_agree_with_themselves_must_agree_with_the_results_too(
    no_go: tuple[Path, str], change: Callable[[dict[str, Any]], None]
) -> None:
    run, fingerprint = no_go
    edit(run, change)
    assert read_gate(run).verdict == "GO"
    with pytest.raises(
        GateAltered, match=r"criterion “.*” is not what .*results\.json gives \(.* \| .*: fail\); .*run Phase 2 again"
    ):
        check_run_before(run, 2, fingerprint, None)


def test_any_other_word_of_a_gate_is_held_by_its_checksum(no_go: tuple[Path, str]) -> None:
    run, _ = no_go
    path = run / "gate.json"
    path.write_text(path.read_text().replace("criteria hold", "criteria held"))
    with pytest.raises(GateAltered, match="checksum is not that of its contents"):
        read_gate(run)


def test_a_threshold_that_is_no_condition_is_refused(no_go: tuple[Path, str]) -> None:
    run, _ = no_go
    edit(run, lambda gate: of(gate, names.GAIN_A).update(threshold="about right"))
    with pytest.raises(GateAltered, match="'about right' is no condition"):
        read_gate(run)


def test_a_gate_of_other_results_is_refused_by_phase_and_report(no_go: tuple[Path, str]) -> None:
    run, fingerprint = no_go
    results = run / "results.json"
    results.write_bytes(results.read_bytes() + b" ")
    for read in (render, lambda run: check_run_before(run, 2, fingerprint, "a test")):
        with pytest.raises(ChainBroken, match=r"results\.json is not what .* rests on"):
            read(run)
