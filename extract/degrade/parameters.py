"""Every number of the degradation in one place: what the recipe keeps and `keybed info` prints."""

from __future__ import annotations

import ast
import inspect
import json
from types import ModuleType
from typing import Any

from extract.degrade import (
    articulation,
    beats,
    curves,
    difficulty,
    draw,
    excerpt,
    harmony,
    keys,
    labels,
    pedal,
    timing,
    tone,
    trend,
    variant,
    wrong_notes,
)

CODE_VERSION = 1
"""Raised whenever equal parameters would give other notes or labels."""

_MODULES = (
    draw,
    excerpt,
    trend,
    beats,
    harmony,
    wrong_notes,
    timing,
    articulation,
    pedal,
    tone,
    labels,
    difficulty,
)


def parameters() -> dict[str, Any]:
    """Plain JSON: the curves with units and sources, and each module's numbers under its name, units in theirs."""
    found: dict[str, Any] = {
        "code_version": CODE_VERSION,
        "generator": keys.GENERATOR,
        "order": variant.ORDER,
        "score_anchors": curves.SCORE_ANCHORS,
        "lowest_score": curves.LOWEST_SCORE,
        "tier_bands": curves.TIER_BANDS,
        "curves": {
            name: {"unit": curve.unit, "levels": curve.levels, "source": curve.source}
            for name, curve in curves.CURVES.items()
        },
    }
    for module in _MODULES:
        found[module.__name__.rpartition(".")[2]] = _constants(module)
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def _constants(module: ModuleType) -> dict[str, Any]:
    """The public upper-case constants that the module itself assigns, in its own order."""
    found: dict[str, Any] = {}
    for statement in ast.parse(inspect.getsource(module)).body:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                names = target.elts if isinstance(target, ast.Tuple) else [target]
                for name in names:
                    if isinstance(name, ast.Name) and name.id.isupper() and not name.id.startswith("_"):
                        found[name.id.lower()] = getattr(module, name.id)
    return found
