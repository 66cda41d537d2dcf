"""The committed schemas are those that the dataclasses give, and they accept and refuse what they should."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest

from keybed.experiments.data.json_codec import FLAT, Key, plain
from keybed.experiments.data.json_schema import schema
from keybed.experiments.evaluation.criteria import Criterion
from keybed.experiments.evaluation.gates import make_gate
from keybed.experiments.reports.schemas import SCHEMAS, write_schemas

ROOT = Path(__file__).resolve().parents[3]
jsonschema = pytest.importorskip("jsonschema", reason="the extra [dev] is not installed whole")


def test_the_committed_schemas_are_generated(tmp_path):
    for path in write_schemas(tmp_path):
        committed = (ROOT / "docs" / "schemas" / path.name).read_text(encoding="utf-8")
        assert committed == path.read_text(encoding="utf-8"), f"{path.name}: run make schemas"
        jsonschema.Draft202012Validator.check_schema(json.loads(committed))
    assert {path.name for path in (ROOT / "docs" / "schemas").iterdir()} == set(SCHEMAS)


@dataclass(frozen=True)
class Inner:
    """An inner part."""

    r: float
    word: Literal["one", "two"] | None = None


@dataclass(frozen=True)
class Spread:
    """Fields that stand in the object around it."""

    left: int


@dataclass(frozen=True)
class Outer:
    """The whole."""

    many: tuple[Inner, ...]
    by_name: Annotated[dict[str, Inner | None], Key("named")]
    spread: Annotated[Spread, FLAT]
    path: Path | None = None


def test_a_schema_accepts_what_is_written_and_nothing_else():
    rules = schema(Outer, "Outer")
    validator = jsonschema.Draft202012Validator(rules)
    value = Outer((Inner(float("nan")), Inner(0.5, "one")), {"a": None, "b": Inner(1.0)}, Spread(3), Path("x"))
    written = plain(value)
    assert written["left"] == 3
    assert validator.is_valid(written)
    assert rules["required"] == ["many", "named", "left"]
    assert rules["description"] == "The whole."
    for wrong in (
        {**written, "left": 3.5},
        {**written, "named": {"a": {"r": 1.0, "word": "three"}}},
        {**written, "many": [{"word": "one"}]},
        {**written, "unknown": 1},
        {name: part for name, part in written.items() if name != "many"},
    ):
        assert not validator.is_valid(wrong), wrong


def test_a_gate_is_valid_and_one_without_a_verdict_is_not():
    criterion = Criterion("gain", 0.25, 0.125, 0.5, "≥ 0.1", "pass", "0.5 / 0.4 − 1")
    gate = plain(make_gate(2, [criterion], [criterion], {"store": "a" * 64}))
    validator = jsonschema.Draft202012Validator(json.loads((ROOT / "docs" / "schemas" / "gate.json").read_text()))
    assert validator.is_valid(gate)
    assert not validator.is_valid({**gate, "verdict": "PERHAPS"})
    del gate["criteria"]
    assert not validator.is_valid(gate)
