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
    ticks,
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
    ticks,
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
        found[_short(module)] = _constants(module)
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def explain() -> dict[str, str]:
    """What each number of `parameters()` means, in words: "timing.own_share" to its sentence; not part of the recipe."""
    told = {f"curves.{name}": f"{curve.unit} ({curve.source})" for name, curve in curves.CURVES.items()}
    for module in _MODULES:
        about = _short(module)
        told[about] = (module.__doc__ or "").strip().splitlines()[0]
        told |= {f"{about}.{name}": words for name, words in _words(module).items() if words}
    return told


def _short(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _constants(module: ModuleType) -> dict[str, Any]:
    """The public upper-case constants that the module itself assigns, in its own order."""
    return {name: getattr(module, name.upper()) for name in _words(module)}


def _words(module: ModuleType) -> dict[str, str]:
    """Each public constant, in lower case, with the string that follows its assignment."""
    found: dict[str, str] = {}
    body = ast.parse(inspect.getsource(module)).body
    for statement, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(statement, ast.Assign):
            continue
        said = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
        for target in statement.targets:
            for name in target.elts if isinstance(target, ast.Tuple) else [target]:
                if isinstance(name, ast.Name) and name.id.isupper() and not name.id.startswith("_"):
                    found[name.id.lower()] = " ".join(str(said).split())
    return found
