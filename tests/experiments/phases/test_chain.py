"""Phases 2, 3 and 4 in sequence on signals that are known, with an override on record; then runs compared."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from keybed.experiments.data.run_folder import write_json
from keybed.experiments.evaluation.gate_chain import ChainBroken
from keybed.experiments.evaluation.gates import GateRefused, read_gate
from keybed.experiments.phases.compare import NotComparable, compare
from keybed.experiments.phases.config import Phase2Config, Phase3Config, Phase4Config
from keybed.experiments.phases.phase2 import run_phase2
from keybed.experiments.phases.phase3 import run_phase3
from keybed.experiments.phases.phase4 import run_phase4
from keybed.experiments.phases.run_before import check_run_before
from keybed.experiments.reports.key_numbers import key_numbers
from keybed.experiments.reports.results import read_any_results
from keybed.heads.errors import CheckpointMismatch, FileDamaged, HeadsError
from keybed.store.errors import KeybedError

pytestmark = pytest.mark.slow
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def runs(make_store: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    store, out = make_store(12, 6), tmp_path_factory.mktemp("chain")
    run_phase2(Phase2Config(store=store, out=out / "two", epochs=5, seeds=2, hidden=16, folds=3), QUIET)
    if read_gate(out / "two").verdict != "GO":
        with pytest.raises(GateRefused):
            run_phase3(Phase3Config(store=store, after=out / "two", out=out / "three"), QUIET)
    three = Phase3Config(store, out / "two", out / "three", override="a test", epochs=4, width=16, hidden=32)
    run_phase3(three, QUIET)
    four = Phase4Config(store, out / "three", out / "four", override="a test too", epochs=4, seeds=2)
    run_phase4(four, QUIET)
    return {"store": store, **{name: out / name for name in ("two", "three", "four")}}


def test_every_override_is_shown_in_every_later_report(runs: dict[str, Path]) -> None:
    shown = [o.reason for o in read_gate(runs["four"]).overrides]
    page = (runs["four"] / "report.html").read_text()
    for gate, reason in ((read_gate(runs["two"]), "a test"), (read_gate(runs["three"]), "a test too")):
        if gate.verdict != "GO":
            assert reason in shown
            assert f"“{reason}”" in page


def test_results_on_disk_are_read_and_written_again_byte_for_byte(runs: dict[str, Path], tmp_path: Path) -> None:
    for name in ("two", "three", "four"):
        again = write_json(tmp_path / "results.json", read_any_results(runs[name]))
        assert again.read_bytes() == (runs[name] / "results.json").read_bytes()


def test_results_and_gates_fit_their_schemas(runs: dict[str, Path]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schemas = Path(__file__).resolve().parents[3] / "docs" / "schemas"
    for number, name in enumerate(("two", "three", "four"), 2):
        for file, schema in (("results.json", f"phase{number}.json"), ("gate.json", "gate.json")):
            written = json.loads((runs[name] / file).read_text())
            jsonschema.validate(written, json.loads((schemas / schema).read_text()))


def test_key_numbers_are_the_means_of_the_results(runs: dict[str, Path]) -> None:
    for name in ("two", "three", "four"):
        numbers = key_numbers(read_any_results(runs[name]))
        assert len(numbers) > 2
        assert all(-1 <= value <= 1 for key, value in numbers.items() if key != "seconds")


def test_alignment_rises_with_training(runs: dict[str, Path]) -> None:
    alignment = json.loads((runs["three"] / "results.json").read_text())["alignment"]
    assert alignment["after"]["value"] > alignment["before"]["value"]
    assert -0.1 < alignment["before"]["value"] < 0.6


def test_a_run_compared_with_itself_differs_by_nothing(runs: dict[str, Path]) -> None:
    twice = compare([runs["two"], runs["two"]])
    for rows in twice.models.values():
        assert rows[1].difference.value == 0
    assert set(compare([runs["two"], runs["three"]]).models) >= {"audio", "midi", "best_fusion"}
    with pytest.raises(NotComparable):
        compare([runs["two"]])


def test_uncertainty_covers_about_what_it_asks(runs: dict[str, Path]) -> None:
    dimensions = json.loads((runs["four"] / "results.json").read_text())["uncertainty"]["dimensions"]
    assert all(0.75 <= u["coverage"] <= 1.0 for u in dimensions.values())


def test_a_wrong_option_of_phase_4_leaves_no_folder(runs: dict[str, Path], tmp_path: Path) -> None:
    for wrong in ({"epochs": 0}, {"seeds": 0}, {"override": None}):
        config = replace(Phase4Config(runs["store"], runs["three"], tmp_path / "four", override="a test"), **wrong)
        if wrong == {"override": None} and read_gate(runs["three"]).verdict == "GO":
            continue
        with pytest.raises((KeybedError, HeadsError)):
            run_phase4(config, QUIET)
    assert not (tmp_path / "four").exists()


def test_gates_of_phases_3_and_4_follow_from_their_results(runs: dict[str, Path]) -> None:
    fingerprint = read_gate(runs["two"]).rests_on["store"]
    for name, phase in (("two", 2), ("three", 3), ("four", 4)):
        check_run_before(runs[name], phase, fingerprint, "a test")


def test_projections_that_were_swapped_or_cut_are_refused(runs: dict[str, Path], tmp_path: Path) -> None:
    """Those of another fold have seen this fold's test rows."""
    three = tmp_path / "three"
    shutil.copytree(runs["three"], three)
    first, second, *_ = sorted(three.glob("projection-*.npz"))
    whole, other = first.read_bytes(), second.read_bytes()
    again = Phase3Config(runs["store"], runs["two"], three, override="a test", epochs=4, width=16, hidden=32)
    after = Phase4Config(runs["store"], three, tmp_path / "four", override="a test")
    first.write_bytes(other)
    with pytest.raises(CheckpointMismatch, match=r"projection-.*on other rows.*delete it"):
        run_phase3(again, QUIET)
    with pytest.raises(ChainBroken, match=r"projection-.*\.npz is not what"):
        run_phase4(after, QUIET)
    first.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileDamaged, match=r"projection-.* is damaged.*delete it"):
        run_phase3(again, QUIET)
