"""The recipe's numbers of the degradation, and their descriptions."""

from __future__ import annotations

from keybed.extract.degrade import (
    parameters,
)
from keybed.extract.degrade.parameters import explain

FOR_FEATURES_ALONE = {"harmony": {"profile_longest_s", "profile_smoothing", "profile_floor"}}
"""Constants of shared modules that no degraded row depends on."""


def test_parameters_are_plain_json_with_every_curve() -> None:
    import json

    numbers = parameters()
    assert json.loads(json.dumps(numbers)) == numbers
    assert numbers["curves"]["timing"] == {
        "unit": "onset shift sd in ms",
        "levels": [0.0, 10.0, 30.0, 60.0],
        "source": "plan",
    }
    assert numbers["wrong_notes"]["substitution_weight"] == 1.0
    assert numbers["labels"]["fewest_notes"] == 20
    assert numbers["timing"]["lags_redrawn_at_ms"] == 60.0


def test_parameters_are_explained_in_words() -> None:
    numbers, words = parameters(), explain()
    for name in words:
        value = numbers
        for part in name.split("."):
            assert part in value, name
            value = value[part]
    assert words["curves.timing"] == "onset shift sd in ms (plan)"
    assert words["wrong_notes.clashing_share"].startswith("At least this share of the summed error weight clashes")
    assert len(words) > 40


def test_every_public_constant_of_the_degradation_is_in_the_recipe() -> None:
    import ast
    import inspect
    from importlib import import_module

    numbers = import_module("keybed.extract.degrade.parameters")._NUMBERS
    in_chords = import_module("keybed.extract.degrade.parameters")._CHORD_GAPS
    for group, (module, names) in numbers.items():
        assigned = {
            name.id.lower()
            for statement in ast.parse(inspect.getsource(module)).body
            if isinstance(statement, ast.Assign)
            for target in statement.targets
            for name in (target.elts if isinstance(target, ast.Tuple) else [target])
            if isinstance(name, ast.Name) and name.id.isupper() and not name.id.startswith("_")
        }
        degrades = assigned - FOR_FEATURES_ALONE.get(group, set())
        assert {name for name in names if f"{group}.{name}" not in in_chords} == degrades, group
