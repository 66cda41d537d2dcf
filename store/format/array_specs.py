"""Every Zarr array of a store: path, shape, dtype, chunks and fill value, computed from the recipe."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from keybed.store.format.recipe import EncoderSpec, Recipe
from keybed.store.format.soundfonts import soundfont_names
from keybed.store.format.vocabulary import COVARIATES, DIMENSIONS, LEVELS, MICROPHONE, WAVEFORM_MEASURES, Status


@dataclass(frozen=True)
class ArraySpec:
    """Metadata of one Zarr array. shards: None for arrays that are not sharded. writer: who writes it, plan or task."""

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
"""Rows of one inner chunk of `layers`, which holds one state (fewer rows where the shard is smaller)."""

FRAMES_CHUNK_ROWS = 64
"""Rows of one inner chunk of `frames` and of arrays derived from it: 4 MB for 20 bins × 2 statistics × 768."""

_NAN = float("nan")

_PLAN = (
    ("recording", "int32", (), -1),
    ("segment", "int32", (), -1),
    ("piece", "int32", (), -1),
    ("split", "uint8", (), 255),
    ("tier", "uint8", (), 255),
    ("start_s", "float64", (), _NAN),
    ("level_drawn", "float32", (("axis", LEVELS),), _NAN),
)

_TASK = (
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
    specs = [_column("plan", n, n, *column) for column in (*_PLAN, *_rating_columns(recipe))]
    if names := soundfont_names(recipe.audio):
        specs.append(_column("plan", n, n, "soundfont", "uint8", (), 255, {"soundfont": names}))
    if recipe.audio.get("rooms"):
        specs.append(_column("plan", n, n, "room", "uint8", (), 255))
        specs.append(_column("plan", n, n, "microphone", "float32", (("microphone", MICROPHONE),), _NAN))
    specs += [_column("task", n, shard, *column) for column in _TASK]
    for encoder in recipe.encoders:
        specs += encoder_arrays(encoder, n, shard)
    return tuple(specs)


def _rating_columns(
    recipe: Recipe,
) -> tuple[tuple[str, str, tuple[tuple[str, tuple[str, ...]], ...], float | int], ...]:
    """Of a store of ratings: each row's mean rating in the scale of the raters, their standard deviation and number."""
    if recipe.labels is None:
        return ()
    along = (("rating_dimension", recipe.rating_dimensions),)
    return (("rating", "float32", along, _NAN), ("rating_sd", "float32", along, _NAN), ("n_ratings", "int32", along, 0))


def task_written(specs: Iterable[ArraySpec]) -> list[ArraySpec]:
    """Those arrays that tasks write shard by shard."""
    return [spec for spec in specs if spec.writer == "task"]


def plan_written(specs: Iterable[ArraySpec]) -> list[ArraySpec]:
    """Those arrays that `keybed plan` writes whole."""
    return [spec for spec in specs if spec.writer == "plan"]


def _column(
    writer: Literal["plan", "task"],
    n_rows: int,
    chunk_rows: int,
    name: str,
    dtype: str,
    labelled: tuple[tuple[str, tuple[str, ...]], ...],
    fill: float | int | bool,
    legend: dict[str, Any] | None = None,
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
        attributes={**{dim: list(labels) for dim, labels in labelled}, **(legend or {})},
    )


def encoder_arrays(encoder: EncoderSpec, n_rows: int, shard_rows: int) -> list[ArraySpec]:
    """The arrays of one encoder, in a fixed order."""
    attributes: dict[str, Any] = {"encoder_fingerprint": encoder.fingerprint, "random_weights": encoder.random_weights}
    if encoder.channels:
        attributes["channel"] = list(encoder.channels)

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
            attributes={**attributes, **extra},
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
    measures = encoder.preprocessing.get("measures", [])
    if measures:
        arrays.append(
            ArraySpec(
                path=f"{encoder.group}/measures",
                shape=(n_rows, len(measures)),
                dtype="float32",
                dims=("row", "measure"),
                chunks=(shard_rows, len(measures)),
                shards=None,
                fill_value=_NAN,
                writer="task",
                attributes={**attributes, "measure": list(measures)},
            )
        )
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
                attributes=attributes,
            )
        )
    return arrays


def shard_rows_for(n_rows: int) -> int:
    """Rows per shard: the largest power of two from 32 to 1024 that gives at least 8 shards; 32 where none does."""
    rows = 1024
    while rows > 32 and -(-n_rows // rows) < 8:
        rows //= 2
    return rows
