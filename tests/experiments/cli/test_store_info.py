"""What `keybed info` prints of a store that was planned from a corpus."""

from __future__ import annotations

import io
from importlib import import_module
from pathlib import Path

import pytest
from rich.console import Console

from keybed import store as stores
from keybed.experiments.cli.store_info import describe_store
from keybed.extract.degrade import explain
from keybed.store.format.vocabulary import LEVELS


def printed_of(path: Path) -> str:
    written = io.StringIO()
    describe_store(stores.open(path), Console(file=written, width=400, soft_wrap=True))
    return written.getvalue()


def test_every_number_of_the_degradation_is_printed_with_its_words(planned_placeholder_store: Path) -> None:
    printed, degradation = (
        printed_of(planned_placeholder_store),
        stores.open(planned_placeholder_store).recipe.degradation,
    )
    for axis in LEVELS:
        curve = degradation["curves"][axis]
        (line,) = [line for line in printed.splitlines() if line.split()[:1] == [axis] and curve["unit"] in line]
        assert [float(level) for level in line.split()[1:5]] == pytest.approx(curve["levels"], rel=0.01)
        assert curve["source"] in line
    for name, value in degradation.items():
        if name != "curves":
            inner = value if isinstance(value, dict) else {name: value}
            assert [key for key, v in inner.items() if not isinstance(v, dict) and f"{key} = {v}" not in printed] == []
    assert [words for name, words in explain().items() if "." in name and words not in printed] == []
    assert "lags_redrawn_at_ms = 60.0   (At this sd all chords get other lags" in printed
    assert "in the audio: every axis is audible" in printed


def test_words_of_other_code_are_not_put_beside_a_stores_numbers(
    planned_placeholder_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("keybed.extract.degrade.parameters"), "CODE_VERSION", 99)
    printed = printed_of(planned_placeholder_store)
    assert "without words: version 6 of the degradation made this store, 99 is here" in printed
    assert "lags_redrawn_at_ms = 60.0\n" in printed


def test_what_is_wrong_with_older_versions_of_the_degradation_is_said() -> None:
    from keybed.extract.degrade.parameters import CODE_VERSION, traces_of

    assert traces_of(1).startswith("degradation version 1: leaves traces that a machine can tell (")
    assert "not heard as flat playing" in traces_of(3)
    assert traces_of(CODE_VERSION) == ""
