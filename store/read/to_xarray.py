"""A store as an xarray DataTree: lazy, with coordinates, and with what its numbers mean, by the CF conventions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keybed.store.format.array_specs import ArraySpec
from keybed.store.format.coded import WORDS
from keybed.store.format.feature import Feature
from keybed.store.format.recipe import EncoderSpec, Recipe
from keybed.store.format.shards import shards_of_range
from keybed.store.format.vocabulary import LEVELS
from keybed.store.optional import optional
from keybed.store.read.reader import Reader

_OF_A_ROW = ("recording", "segment", "piece", "split", "tier", "status", "start_s")
"""Columns that are coordinates along `row`, in every group."""

_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "row": {"long_name": "row number in the store"},
    "recording": {"long_name": "recording, an index into recordings.json"},
    "segment": {"long_name": "segment, a window of a recording; its four rows have the four tiers"},
    "piece": {"long_name": "composition"},
    "tier": {"long_name": "quality class that was drawn"},
    "split": {"long_name": "part of the data"},
    "status": {"long_name": "whether the row has features, and if not, why"},
    "start_s": {"long_name": "start of the window in its recording", "units": "s"},
    "n_notes": {"long_name": "number of notes", "units": "1"},
    "score": {
        "long_name": "score",
        "units": "1",
        "valid_range": np.array([0, 100], np.float32),
        "ancillary_variables": "valid",
    },
    "valid": {"long_name": "whether the score counts"},
    "level_drawn": {"long_name": "level of degradation that was drawn, in axis_units"},
    "level": {"long_name": "level of degradation that was measured, in axis_units"},
    "difficulty": {"long_name": "measure of difficulty of the pristine segment"},
    "waveform": {"long_name": "measure of the finished waveform"},
    "layers": {"long_name": "states of the encoder, pooled over the window"},
    "frames": {"long_name": "states of the encoder, pooled over time bins"},
    "mask": {"long_name": "whether a bin holds anything to pool"},
    "measures": {"long_name": "measures of the encoder's own transcription"},
    "bin": {"long_name": "time bin of the window"},
    "time_s": {"long_name": "centre of the time bin, from the start of the window", "units": "s"},
}


def to_xarray(reader: Reader, recipe: Recipe, columns: Mapping[str, np.ndarray]) -> Any:
    """See `Store.to_xarray`. columns: every column under `row/`, all rows. Raises NotInstalled where xarray is absent."""
    xarray = optional("xarray", "tables")
    n = recipe.n_rows
    along = {"row": _variable(xarray, ("row",), np.arange(n), "row")}
    along |= {name: _variable(xarray, ("row",), columns[name], name) for name in _OF_A_ROW}
    specs = {spec.path: spec for spec in reader.specs}
    rest = {
        path.removeprefix("row/"): spec
        for path, spec in specs.items()
        if path.startswith("row/") and path.removeprefix("row/") not in _OF_A_ROW
    }
    tree = {
        "/": xarray.Dataset(attrs=_about(recipe)),  # without coordinates: a variable `row` would hide the group `row`
        "/row": xarray.Dataset(
            {name: _variable(xarray, spec.dims, columns[name], name) for name, spec in rest.items()},
            coords=along | _labels(xarray, rest.values()) | _units(xarray, recipe),
        ),
    }
    for encoder in recipe.encoders:
        own = [spec for path, spec in specs.items() if path.startswith(f"{encoder.group}/")]
        variables = {
            spec.path.rsplit("/", 1)[1]: xarray.Variable(
                spec.dims, _lazy(reader, spec), _ATTRIBUTES.get(spec.path.rsplit("/", 1)[1], {})
            )
            for spec in own
        }
        coordinates = along | _labels(xarray, own) | _times(xarray, encoder, recipe)
        tree[f"/{encoder.group}"] = xarray.Dataset(variables, coords=coordinates, attrs=_of_encoder(encoder))
    return xarray.DataTree.from_dict(tree, name="store")


def _about(recipe: Recipe) -> dict[str, Any]:
    about = {"Conventions": "CF-1.11", "title": "Keybed feature store", "fingerprint": recipe.fingerprint}
    seconds = recipe.segments.get("window_s")
    return about if seconds is None else {**about, "window_s": float(seconds)}


def _of_encoder(encoder: EncoderSpec) -> dict[str, Any]:
    return {
        "encoder": encoder.name,
        "source": encoder.source,
        "revision": encoder.revision,
        "weights_sha256": encoder.weights_sha256,
        "random_weights": int(encoder.random_weights),
        "fingerprint": encoder.fingerprint,
    }


def _variable(xarray: Any, dims: Sequence[str], values: np.ndarray, name: str) -> Any:
    attributes = dict(_ATTRIBUTES.get(name, {}))
    if name in WORDS:
        attributes["flag_values"] = np.array(list(WORDS[name]), values.dtype)
        attributes["flag_meanings"] = " ".join(WORDS[name].values())
    return xarray.Variable(dims, np.asarray(values), attributes)


def _labels(xarray: Any, specs: Any) -> dict[str, Any]:
    """Names along every axis whose array says them, such as `dimension`, `axis`, `stat` and `channel`."""
    labels = {}
    for spec in specs:
        for dim, size in zip(spec.dims[1:], spec.shape[1:], strict=True):
            named = spec.attributes.get(dim)
            if isinstance(named, list) and len(named) == size:
                labels[dim] = xarray.Variable((dim,), np.array(named))
    return labels


def _units(xarray: Any, recipe: Recipe) -> dict[str, Any]:
    """The unit of each axis of degradation, where the recipe has the curves."""
    curves = recipe.degradation.get("curves", {})
    units = [str(curves.get(axis, {}).get("unit", "")) for axis in LEVELS]
    attributes = {"long_name": "unit of the axis"}
    return {"axis_units": xarray.Variable(("axis",), np.array(units), attributes)} if any(units) else {}


def _times(xarray: Any, encoder: EncoderSpec, recipe: Recipe) -> dict[str, Any]:
    """The bins of `frames` and their centres in seconds."""
    n, seconds = encoder.n_bins, recipe.segments.get("window_s")
    times = {"bin": xarray.Variable(("bin",), np.arange(n), _ATTRIBUTES["bin"])}
    if seconds is not None:
        centres = (np.arange(n) + 0.5) * float(seconds) / n
        times["time_s"] = xarray.Variable(("bin",), centres, _ATTRIBUTES["time_s"])
    return times


def _lazy(reader: Reader, spec: ArraySpec) -> Any:
    """A dask array of one block per shard (and per state, where the store keeps states apart)."""
    import dask.array

    source = _Shards(reader, spec.path)
    shard = min(reader.shards.shard_rows, spec.shape[0])
    return dask.array.from_array(source, chunks=(shard, *spec.chunks[1:]), name=False, fancy=False, meta=source.meta)


class _Shards:
    """One array of the store as dask slices it. Rows of shards that were uncommitted at the start are the fill value.

    Read through `Reader`, which compares every chunk with its commit.
    """

    def __init__(self, reader: Reader, path: str) -> None:
        self._reader, self._path = reader, path
        self._committed = reader.shards_of(path).numbers
        array = reader.array(path)
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, len(array.shape)
        self._dims, self._fill = array.metadata.dimension_names, array.fill_value

    @property
    def meta(self) -> np.ndarray:
        """An empty array of this dtype and number of axes."""
        return np.empty((0,) * self.ndim, self.dtype)

    def __getitem__(self, key: tuple[slice | int, ...]) -> np.ndarray:
        spans, inside = [], []
        for part, size in zip(key, self.shape, strict=True):
            numbers = range(size)[part] if isinstance(part, slice) else range(part, part + 1)
            low, high = (min(numbers), max(numbers) + 1) if len(numbers) else (0, 0)
            spans.append((low, high))
            inside.append(np.asarray(numbers, np.int64) - low if isinstance(part, slice) else part - low)
        if any(low == high for low, high in spans):
            return np.empty([len(i) for i in inside if isinstance(i, np.ndarray)], self.dtype)
        block = self._block(*spans[0], spans[1:])
        for axis in reversed(range(self.ndim)):
            block = np.take(block, inside[axis], axis=axis)
        return block

    def _block(self, start: int, stop: int, inner: Sequence[tuple[int, int]]) -> np.ndarray:
        feature = Feature(self._path, tuple((dim, *span) for dim, span in zip(self._dims[1:], inner, strict=True)))
        out = self._reader.empty_block(feature, stop - start)
        for shard in shards_of_range(start, stop, self._reader.shards.shard_rows):
            first, last = self._reader.shards.rows_of(shard)
            first, last = max(first, start), min(last, stop)
            part = out[first - start : last - start]
            if shard in self._committed:
                self._reader.read_block(feature, first, last, out=part)
            else:
                part[...] = self._fill
        return out
