"""What a store holds: the words, the arrays, the recipe. Pure data; nothing here touches a disk.

Every other room imports its names from here, so that a dimension, a tier or a status has one spelling.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import IntEnum
from typing import Any, Literal

FORMAT_VERSION = 1

SPLITS = ("train", "validation", "test")
TIERS = ("pristine", "good", "moderate", "poor")
TIER_SHARES = (0.30, 0.30, 0.25, 0.15)
"""The plan's shares, used as weights at training time; the store keeps all four variants of every segment."""

AXES = ("notes", "timing", "articulation", "pedal", "tone", "dynamics", "expression")
LEVELS = (*AXES, "tempo")
"""Columns of `row/level`: one an axis, in the axis's own unit, and the tempo half of expression by itself."""

DIMENSIONS = (
    "note_accuracy",
    "rhythmic_stability",
    "articulation_clarity",
    "pedal_technique",
    "tone_quality",
    "dynamic_range",
    "musical_expression",
    "overall_interpretation",
)
AXIS_DIMENSIONS = DIMENSIONS[:7]
"""Dimension i is judged on axis i; overall_interpretation is the weighted mean of these seven."""
TECHNICAL = DIMENSIONS[:4]
INTERPRETIVE = DIMENSIONS[6:]

COVARIATES = (
    "note_rate_hz",
    "polyphony",
    "pitch_range_semitones",
    "hand_span_semitones",
    "tempo_variability",
    "velocity_range",
)
"""Difficulty of the pristine segment: the control for "quality, not difficulty"."""

WAVEFORM_MEASURES = ("rms_dbfs", "peak_dbfs", "gain_db")
"""Measured on the finished waveform, for the shortcut audit; gain_db is what loudness normalisation applied."""


class Status(IntEnum):
    """What became of a row; the legend is in the group's attributes, the reason in words in the commit."""

    OK = 0
    NO_NOTES = 1
    SILENT_AUDIO = 2
    AUDIO_UNREADABLE = 3
    AUDIO_TOO_SHORT = 4
    MIDI_UNREADABLE = 5
    NOT_FINITE = 6
    NOT_MADE = 255


@dataclass(frozen=True)
class EncoderSpec:
    """All that shapes one encoder's numbers; part of the recipe, so equal specs give comparable features.

    `layers` is float16 (row, layer_stats, n_states, width); `frames` is float16 (row, n_bins, frame_stats, width);
    `mask`, where has_mask, is bool (row, n_bins) and true where the bin holds something.
    """

    name: str
    modality: Literal["audio", "midi"]
    source: str
    """Hub id, the word "local", "random" or "none"; never a path of one machine."""
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
    """Names of the width's columns where they have a meaning (baselines)."""

    @property
    def group(self) -> str:
        """Path of this encoder's arrays in the Zarr group, e.g. `audio/mert`."""
        return f"{self.modality}/{self.name}"

    @property
    def random_weights(self) -> bool:
        """True where the weights are seeded noise: every report must say so in plain sight."""
        return self.source == "random"

    @property
    def fingerprint(self) -> str:
        """sha256 over everything above."""
        return fingerprint(asdict(self))


@dataclass(frozen=True)
class Recipe:
    """Everything that shapes a number in the store. Two stores of one recipe hold the same bytes.

    The dictionaries are plain JSON. `extract` makes them; the store only keeps, compares and hashes them.
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

    @property
    def fingerprint(self) -> str:
        """sha256 of the canonical JSON of the whole recipe."""
        return fingerprint(self.to_json())

    def encoder(self, name: str) -> EncoderSpec:
        """The spec of one encoder by its name; KeyError lists those the store has."""
        for spec in self.encoders:
            if spec.name == name:
                return spec
        raise KeyError(f"no encoder {name!r} in this store; it has {', '.join(e.name for e in self.encoders)}")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types only; `from_json` is the inverse."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Recipe:
        """Inverse of `to_json`. Raises ValueError naming unknown or missing fields."""
        _same_fields(Recipe, data)
        encoders = []
        for item in data["encoders"]:
            _same_fields(EncoderSpec, item)
            tuples: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in item.items()}
            encoders.append(EncoderSpec(**tuples))
        return Recipe(**{**data, "encoders": tuple(encoders)})


def _same_fields(kind: type, data: Mapping[str, Any]) -> None:
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
    """One side of a key that the other lacks; all of an encoder would fill a page."""
    if key not in data:
        return "(absent)"
    return "(there)" if isinstance(data[key], Mapping) else data[key]


def _by_name(items: Sequence[Any]) -> dict[str, Any]:
    """Entries that carry a `name` (encoders), by it; empty where one has none, or two the same."""
    found = {item["name"]: item for item in items if isinstance(item, Mapping) and "name" in item}
    return found if len(found) == len(items) else {}


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Every leaf at which two JSON values differ, as `path: ours | theirs`; for messages people can act on."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        found = []
        for key in sorted(set(ours) | set(theirs)):
            where = f"{path}.{key}" if path else str(key)
            if key not in ours or key not in theirs:
                found.append(f"{where}: {_leaf(ours, key)} | {_leaf(theirs, key)}")
            else:
                found += differences(ours[key], theirs[key], where)
        return found
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        named, also_named = _by_name(ours), _by_name(theirs)
        if named and also_named:
            return differences(named, also_named, path)
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple) and len(ours) == len(theirs):
        return [d for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) for d in differences(a, b, f"{path}[{i}]")]
    return [] if ours == theirs else [f"{path}: {ours} | {theirs}"]


@dataclass(frozen=True)
class ArraySpec:
    """One Zarr array: all of its shape, none of its data. `shards` is None for plan-written columns (one chunk)."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    dims: tuple[str, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    fill_value: float | int | bool
    writer: Literal["plan", "task"]
    attributes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.shape) == len(self.dims) == len(self.chunks):
            raise ValueError(f"{self.path}: shape, dims and chunks differ in rank")
        if self.shards is not None and any(s % c for s, c in zip(self.shards, self.chunks, strict=True)):
            raise ValueError(f"{self.path}: shard {self.shards} is not a whole number of chunks {self.chunks}")


LAYERS_CHUNK_ROWS = 256
"""Rows of one inner chunk of `layers`, each of one state (fewer where the shard is smaller)."""
FRAMES_CHUNK_ROWS = 64
"""Of `frames` and what is derived from them: 4 MB for 20 bins of a mean and a deviation, 768 wide."""

_NAN = float("nan")
_PLANNED = (
    ("recording", "int32", (), -1),
    ("segment", "int32", (), -1),
    ("piece", "int32", (), -1),
    ("split", "uint8", (), 255),
    ("tier", "uint8", (), 255),
    ("start_s", "float64", (), _NAN),
    ("level_drawn", "float32", (("axis", LEVELS),), _NAN),
)
_MADE = (
    ("status", "uint8", (), int(Status.NOT_MADE)),
    ("n_notes", "int32", (), -1),
    ("score", "float32", (("dimension", DIMENSIONS),), _NAN),
    ("valid", "bool", (("dimension", DIMENSIONS),), False),
    ("level", "float32", (("axis", LEVELS),), _NAN),
    ("difficulty", "float32", (("covariate", COVARIATES),), _NAN),
    ("waveform", "float32", (("measure", WAVEFORM_MEASURES),), _NAN),
)


def array_specs(recipe: Recipe) -> tuple[ArraySpec, ...]:
    """Every array of a store of this recipe, plan-written first, in a fixed order."""
    n, shard = recipe.n_rows, recipe.shard_rows
    specs = [_column("plan", n, n, *column) for column in _PLANNED]
    specs += [_column("task", n, shard, *column) for column in _MADE]
    for encoder in recipe.encoders:
        specs += _encoder_arrays(encoder, n, shard)
    return tuple(specs)


def _column(
    writer: Literal["plan", "task"],
    n_rows: int,
    chunk_rows: int,
    name: str,
    dtype: str,
    labelled: tuple[tuple[str, tuple[str, ...]], ...],
    fill: float | int | bool,
) -> ArraySpec:
    rest = tuple(len(labels) for _, labels in labelled)
    return ArraySpec(
        path=f"row/{name}",
        shape=(n_rows, *rest),
        dtype=dtype,
        dims=("row", *(dim for dim, _ in labelled)),
        chunks=(chunk_rows, *rest),
        shards=None,
        fill_value=fill,
        writer=writer,
        attributes={dim: list(labels) for dim, labels in labelled},
    )


def _encoder_arrays(encoder: EncoderSpec, n_rows: int, shard_rows: int) -> list[ArraySpec]:
    about = {"encoder_fingerprint": encoder.fingerprint, "random_weights": encoder.random_weights}
    if encoder.channels:
        about["channel"] = list(encoder.channels)

    def feature(
        name: str, dims: tuple[str, ...], rest: tuple[int, ...], chunk: tuple[int, ...], **extra: Any
    ) -> ArraySpec:
        return ArraySpec(
            path=f"{encoder.group}/{name}",
            shape=(n_rows, *rest),
            dtype="float16",
            dims=("row", *dims),
            chunks=(min(chunk[0], shard_rows), *chunk[1:]),
            shards=(shard_rows, *rest),
            fill_value=_NAN,
            writer="task",
            attributes={**about, **extra},
        )

    n_layer_stats, n_frame_stats = len(encoder.layer_stats), len(encoder.frame_stats)
    arrays = [
        feature(
            "layers",
            ("stat", "state", "channel"),
            (n_layer_stats, encoder.n_states, encoder.width),
            (LAYERS_CHUNK_ROWS, n_layer_stats, 1, encoder.width),
            stat=list(encoder.layer_stats),
        ),
        feature(
            "frames",
            ("bin", "bin_stat", "channel"),
            (encoder.n_bins, n_frame_stats, encoder.width),
            (FRAMES_CHUNK_ROWS, encoder.n_bins, n_frame_stats, encoder.width),
            bin_stat=list(encoder.frame_stats),
            states=list(encoder.frame_states),
        ),
    ]
    if encoder.has_mask:
        arrays.append(
            ArraySpec(
                path=f"{encoder.group}/mask",
                shape=(n_rows, encoder.n_bins),
                dtype="bool",
                dims=("row", "bin"),
                chunks=(shard_rows, encoder.n_bins),
                shards=None,
                fill_value=False,
                writer="task",
                attributes=about,
            )
        )
    return arrays


def shard_rows_for(n_rows: int) -> int:
    """Rows of a shard: the largest power of two from 32 to 1024 that still gives at least 8 shards."""
    rows = 1024
    while rows > 32 and -(-n_rows // rows) < 8:
        rows //= 2
    return rows
