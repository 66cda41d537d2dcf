"""Limits of a recipe's names and numbers, so that a hostile or damaged recipe names no path and asks for no absurd size."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from keybed.store.counted import counted
from keybed.store.format.soundfonts import soundfont_problems

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
MOST_MEASURES = 1_000
MOST_RATING_DIMENSIONS = 100
LONGEST_DIMENSION = 64
MOST_ROWS = 100_000_000
MOST_SHARDS = 1_000_000
MOST_SHARD_ROWS = 1 << 20
LARGEST_SHARD_BYTES = 1 << 36
_LIMITS = {
    "code_version": (0, 1_000_000),
    "n_states": (1, 1_000),
    "width": (1, 1_000_000),
    "n_bins": (1, 1_000_000),
    "threads": (0, 10_000),
}


def recipe_problems(recipe: Mapping[str, Any]) -> Iterator[str]:
    """Every rule that a recipe breaks, one sentence each. recipe: its JSON, with all fields of `Recipe`."""
    for name in ("corpus", "segments", "degradation", "audio"):
        if not isinstance(recipe[name], Mapping):
            yield f"{name} is no JSON object"
    if isinstance(recipe["audio"], Mapping):
        yield from soundfont_problems(recipe["audio"])
    sizes = {"n_rows": (0, MOST_ROWS), "shard_rows": (1, MOST_SHARD_ROWS), "format_version": (1, 1_000)}
    wrong = [text for name, limits in sizes.items() for text in _number(name, recipe[name], *limits)]
    wrong += [text for encoder in recipe["encoders"] for text in encoder_problems(encoder)]
    wrong += label_problems(recipe.get("labels"))
    if wrong:
        yield from wrong
        return
    n_rows, shard_rows = recipe["n_rows"], recipe["shard_rows"]
    if -(-n_rows // shard_rows) > MOST_SHARDS:
        yield f"{counted(n_rows, 'row')} in shards of {shard_rows} are more than {MOST_SHARDS} shards"
    names = [encoder["name"] for encoder in recipe["encoders"]]
    if len(set(names)) != len(names):
        yield f"two encoders have one name: {', '.join(names)}"
    for encoder in recipe["encoders"]:
        numbers = encoder["width"] * max(
            len(encoder["layer_stats"]) * encoder["n_states"], len(encoder["frame_stats"]) * encoder["n_bins"]
        )
        if 2 * numbers * shard_rows > LARGEST_SHARD_BYTES:
            yield f"encoder {encoder['name']}: {numbers} numbers a row are too many for shards of {counted(shard_rows, 'row')}"


def encoder_problems(encoder: Mapping[str, Any]) -> Iterator[str]:
    """Every rule that one encoder's spec breaks, one sentence each. encoder: JSON with all fields of `EncoderSpec`."""
    name = encoder["name"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        yield f"encoder {_shown(name)}: a name has letters, digits, _, - and . only"
        return
    where = f"encoder {name}:"
    if encoder["modality"] not in ("audio", "midi"):
        yield f"{where} modality {_shown(encoder['modality'])} is neither audio nor midi"
    for field in ("source", "revision", "weights_sha256", "compute_dtype"):
        if not isinstance(encoder[field], str):
            yield f"{where} {field} is no text"
    for field, limits in _LIMITS.items():
        yield from (f"{where} {text}" for text in _number(field, encoder[field], *limits))
    for field in ("layer_stats", "frame_stats", "channels"):
        values = encoder[field]
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            yield f"{where} {field} is no list of names"
        elif field != "channels" and not 0 < len(values) == len(set(values)):
            yield f"{where} {field} must name each statistic once"
    states, n_states = encoder["frame_states"], encoder["n_states"]
    if not isinstance(states, list) or not states or not all(_is_whole(state) for state in states):
        yield f"{where} frame_states is no list of whole numbers"
    elif _is_whole(n_states) and not all(0 <= state < n_states for state in states):
        yield f"{where} frame_states {_shown(states)} are not among its {n_states} states"
    if not isinstance(encoder["has_mask"], bool):
        yield f"{where} has_mask is neither true nor false"
    if not isinstance(encoder["preprocessing"], Mapping):
        yield f"{where} preprocessing is no JSON object"
        return
    measures = encoder["preprocessing"].get("measures", [])
    if not isinstance(measures, list) or not all(isinstance(name, str) for name in measures):
        yield f"{where} measures is no list of names"
    elif len(measures) != len(set(measures)) or len(measures) > MOST_MEASURES:
        yield f"{where} measures must name each of at most {MOST_MEASURES} measures once"


def label_problems(labels: Any) -> Iterator[str]:
    """Every rule that the labels of a store of ratings break; None is another store."""
    if labels is None:
        return
    if not isinstance(labels, Mapping):
        yield "labels is no JSON object"
        return
    names, scale = labels.get("dimensions"), labels.get("scale")
    if not isinstance(names, list) or not all(isinstance(n, str) and 0 < len(n) <= LONGEST_DIMENSION for n in names):
        yield "labels.dimensions is no list of names"
    elif not 0 < len(names) == len(set(names)) <= MOST_RATING_DIMENSIONS:
        yield f"labels.dimensions must name each of at most {MOST_RATING_DIMENSIONS} dimensions once"
    ends = scale if isinstance(scale, list) else []
    if len(ends) != 2 or ends[0] == ends[1] or not all(type(n) in (int, float) and math.isfinite(n) for n in ends):
        yield "labels.scale is not the worst and the best rating"


def _number(name: str, value: Any, least: int, most: int) -> Iterator[str]:
    if not _is_whole(value) or not least <= value <= most:
        yield f"{name} is {_shown(value)}, must be a whole number from {least} to {most}"


def _is_whole(value: Any) -> bool:
    return type(value) is int


def _shown(value: Any) -> str:
    if type(value) is int and abs(value) > 1 << 64:
        return f"a number of {math.ceil(value.bit_length() * math.log10(2))} digits"
    return repr(value)[:80]
