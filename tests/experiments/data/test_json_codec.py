"""Dataclasses to JSON and back; a file with other fields is refused with its name and the field's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytest

from keybed.experiments.data.json_codec import FLAT, JsonMismatch, Key, from_json, plain

FILE = Path("run/results.json")


@dataclass(frozen=True)
class Value:
    JSON_PROPERTIES: ClassVar = ("double",)
    r: float
    n: int | None = None

    @property
    def double(self) -> float:
        return 2 * self.r


@dataclass(frozen=True)
class Inner:
    by_name: dict[str, Value]
    words: tuple[str, ...]


@dataclass(frozen=True)
class Outer:
    phase: Literal[2]
    inner: Annotated[Inner, FLAT]
    rows: Annotated[Value, Key("judged")]
    note: str | None
    free: dict[str, Any]


def outer() -> Outer:
    return Outer(
        2, Inner({"a": Value(0.5, 3), "b": Value(float("nan"))}, ("x", "y")), Value(1.0), None, {"k": [1, None]}
    )


JSON = {
    "phase": 2,
    "by_name": {"a": {"r": 0.5, "n": 3, "double": 1.0}, "b": {"r": None, "n": None, "double": None}},
    "words": ["x", "y"],
    "judged": {"r": 1.0, "n": None, "double": 2.0},
    "note": None,
    "free": {"k": [1, None]},
}


def test_a_dataclass_is_written_under_its_keys_and_read_again() -> None:
    assert json.dumps(plain(outer())) == json.dumps(JSON)
    again = from_json(Outer, JSON, FILE)
    assert again.inner.by_name["a"] == Value(0.5, 3)
    assert np.isnan(again.inner.by_name["b"].r)
    assert again.inner.words == ("x", "y")
    assert json.dumps(plain(again)) == json.dumps(JSON)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"words": ...}, "field words is missing"),
        ({"more": 1}, "unknown field more"),
        ({"judged": {"n": 1}}, "field judged.r is missing"),
        ({"by_name": {"a": {"r": 1.0, "q": 2}}}, "unknown field by_name.a.q"),
        ({"judged": {"r": "high"}}, "judged.r is 'high', not float"),
        ({"judged": {"r": True}}, "judged.r is True, not float"),
        ({"judged": [1]}, r"judged is \[1\], not an object"),
        ({"words": ["x", 3]}, r"words\[1\] is 3, not str"),
        ({"phase": 3}, "phase is 3"),
    ],
)
def test_another_file_is_refused_by_file_and_field(change: dict[str, Any], words: str) -> None:
    data = {k: v for k, v in {**JSON, **change}.items() if v is not ...}
    with pytest.raises(JsonMismatch, match=rf"run/results\.json: {words}"):
        from_json(Outer, data, FILE)


def test_numpy_values_and_paths_become_plain_json() -> None:
    values = {"a": np.float32(0.5), "b": np.arange(2), "c": Path("x/y"), "d": (1, float("inf")), 3: np.int64(4)}
    assert plain(values) == {"a": 0.5, "b": [0, 1], "c": "x/y", "d": [1, None], "3": 4}
