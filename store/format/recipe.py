"""The recipe of a store: everything that shapes a number in it, its fingerprint, and how two recipes differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Literal

from keybed.store.format.recipe_rules import recipe_problems

FORMAT_VERSION = 1


@dataclass(frozen=True)
class EncoderSpec:
    """All settings that shape one encoder's features; equal specs give comparable features.

    `layers` is float16 (row, layer_stats, n_states, width); `frames` is float16 (row, n_bins, frame_stats, width);
    `mask`, where has_mask, is bool (row, n_bins) and true where the bin contains a note.
    """

    name: str
    modality: Literal["audio", "midi"]
    source: str
    """Hugging Face id, or "local", "random" or "none"; never a path of one machine."""
    revision: str
    weights_sha256: str
    code_version: int
    preprocessing: dict[str, Any]
    n_states: int
    width: int
    n_bins: int
    frame_states: tuple[int, ...]
    """States that are averaged into `frames`."""
    layer_stats: tuple[str, ...] = ("mean", "sd")
    frame_stats: tuple[str, ...] = ("mean", "sd")
    has_mask: bool = False
    compute_dtype: str = "float32"
    threads: int = 2
    channels: tuple[str, ...] = ()
    """Names of the width's columns, for encoders whose columns have a meaning (baselines)."""

    @property
    def group(self) -> str:
        """Path of this encoder's arrays in the Zarr group, e.g. `audio/mert`."""
        return f"{self.modality}/{self.name}"

    @property
    def random_weights(self) -> bool:
        """True where the weights are seeded random numbers, which every report must state."""
        return self.source == "random"

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of all fields."""
        return fingerprint(asdict(self))

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> EncoderSpec:
        """The spec of plain JSON. Raises ValueError naming unknown or missing fields; names and numbers are not checked."""
        _same_fields(EncoderSpec, data)
        tuples: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return EncoderSpec(**tuples)


@dataclass(frozen=True)
class Recipe:
    """Everything that shapes a number in the store. Two stores of one recipe hold the same bytes.

    The dictionaries are plain JSON. `extract` fills them; the store only keeps, compares and hashes them.
    """

    corpus: dict[str, Any]
    """sha256 of CSV and MIDI bytes, WAVs by name, size and header; number of recordings."""
    segments: dict[str, Any]
    """window_s, hop_s, limit, n_segments, split repair version."""
    degradation: dict[str, Any]
    """profile, seed, curves, tier shares, axis parameters, code version."""
    audio: dict[str, Any]
    """source (rendered | recorded), sample_rate_hz, soundfont name and sha256, synthesiser, pre-roll, loudness."""
    encoders: tuple[EncoderSpec, ...]
    n_rows: int
    shard_rows: int
    format_version: int = FORMAT_VERSION
    labels: dict[str, Any] | None = None
    """Of a store of ratings by people: dimensions, scale (worst, best), sha256 of the file. None: degradation gives the labels."""

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the canonical JSON of the whole recipe."""
        return fingerprint(self.to_json())

    @cached_property
    def rows_fingerprint(self) -> str:
        """sha256 of everything that shapes the rows, their labels and their sound: the recipe without its encoders."""
        return fingerprint({key: value for key, value in self.to_json().items() if key != "encoders"})

    @property
    def rating_dimensions(self) -> tuple[str, ...]:
        """Names along `row/rating` of a store of ratings; empty for another store."""
        return () if self.labels is None else tuple(self.labels["dimensions"])

    def encoder(self, name: str) -> EncoderSpec:
        """The spec of one encoder by its name; KeyError lists those the store has."""
        for spec in self.encoders:
            if spec.name == name:
                return spec
        raise KeyError(f"no encoder {name!r} in this store; it has {', '.join(e.name for e in self.encoders)}")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types only; `from_json` is the inverse."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        if self.labels is None:  # so that recipes from before there were such stores keep their fingerprints
            del plain["labels"]
        return plain

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Recipe:
        """Inverse of `to_json`. Raises ValueError naming unknown or missing fields and names and numbers out of bounds."""
        _same_fields(Recipe, {"labels": None, **data} if isinstance(data, Mapping) else data)
        if not isinstance(data["encoders"], list):
            raise ValueError("encoders is no list")
        encoders = [EncoderSpec.from_json(item) for item in data["encoders"]]
        problems = list(recipe_problems(data))
        if problems:
            raise ValueError("; ".join(problems[:4]))
        return Recipe(**{**data, "encoders": tuple(encoders)})


def _same_fields(kind: type, data: Mapping[str, Any]) -> None:
    if not isinstance(data, Mapping):
        raise ValueError(f"{kind.__name__}: no JSON object")
    wanted, given = {f.name for f in fields(kind)}, set(data)
    if wanted != given:
        raise ValueError(
            f"{kind.__name__}: missing fields {sorted(wanted - given)}, unknown fields {sorted(given - wanted)}"
        )


def fingerprint(data: Any) -> str:
    """sha256 hex digest of the canonical JSON (sorted keys, no spaces, no NaN) of plain data."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _leaf(data: Mapping[str, Any], key: str) -> Any:
    """The value to show for a key that one side lacks; dictionaries are shortened, because an encoder fills a page."""
    if key not in data:
        return "(absent)"
    return "(present)" if isinstance(data[key], Mapping) else data[key]


def _by_name(items: Sequence[Any]) -> dict[str, Any]:
    """Entries by their `name` (encoders); empty where an entry has no name or two have the same."""
    by_name = {item["name"]: item for item in items if isinstance(item, Mapping) and "name" in item}
    return by_name if len(by_name) == len(items) else {}


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Every leaf at which two JSON values differ, as `path: ours | theirs`."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        lines = []
        for key in sorted(set(ours) | set(theirs)):
            where = f"{path}.{key}" if path else str(key)
            if key not in ours or key not in theirs:
                lines.append(f"{where}: {_leaf(ours, key)} | {_leaf(theirs, key)}")
            else:
                lines += differences(ours[key], theirs[key], where)
        return lines
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        named, also_named = _by_name(ours), _by_name(theirs)
        if named and also_named:
            return differences(named, also_named, path)
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple) and len(ours) == len(theirs):
        return [d for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) for d in differences(a, b, f"{path}[{i}]")]
    return [] if ours == theirs else [f"{path}: {ours} | {theirs}"]
