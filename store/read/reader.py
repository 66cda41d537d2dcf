"""Reading the arrays of a store in contiguous blocks of rows.

A path such as `audio/mert/layers` names an array of the Zarr group. A derived array (`derived/…`) is made by
`keybed derive` from others; it is fresh while the arrays that it was made from are unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keybed.store.command import command
from keybed.store.counted import counted
from keybed.store.disk.blosc_shards import DirectArray
from keybed.store.disk.derived_files import (
    DerivedFiles,
    checksums_of,
    derive_again,
    derived_attributes,
    derived_paths,
    has_rows,
)
from keybed.store.disk.planned_files import PlannedFiles, inside
from keybed.store.disk.zarr_arrays import open_for_reading, read_into
from keybed.store.errors import NoSuchFeature, ShardDamaged, StaleDerived
from keybed.store.format.feature import Feature, parse_feature
from keybed.store.format.layer import Layer
from keybed.store.format.layout import Layout, object_key
from keybed.store.format.recipe import Recipe, fingerprint
from keybed.store.format.shards import shards_of_range
from keybed.store.read.committed import CommittedShards

UNREADABLE = (RuntimeError, ValueError, OSError, KeyError, TypeError, AttributeError, IndexError)
"""What zarr-python and numcodecs raise for damaged metadata and chunks."""


class Reader:
    """Open arrays of one store. Reading is thread-safe; nothing is written."""

    def __init__(
        self,
        layout: Layout,
        recipe: Recipe,
        planned_files: PlannedFiles,
        layers: Mapping[str, Layer] = MappingProxyType({}),
        dropped: frozenset[str] = frozenset(),
    ) -> None:
        self.layout = layout
        self.planned_files = planned_files
        self.shards = CommittedShards(layout, recipe, planned_files, dropped=dropped)
        self.added = {
            name: CommittedShards(layout, recipe, planned_files, layer=layer) for name, layer in layers.items()
        }
        self.specs = (*self.shards.specs, *(spec for shards in self.added.values() for spec in shards.specs))
        self._shards_of = {spec.path: shards for shards in self.added.values() for spec in shards.specs}
        self._known = frozenset(spec.path for spec in self.specs)
        self._arrays: dict[str, Any] = {}
        self._direct: dict[str, DirectArray | None] = {}
        self._derived: dict[str, DerivedFiles] = {}

    @property
    def path(self) -> Path:
        """The store's folder."""
        return self.layout.root

    @property
    def features(self) -> list[str]:
        """Paths of the arrays with one entry per row that hold features or their masks, `derived/…` included."""
        planned = [spec.path for spec in self.specs if not spec.path.startswith("row/")]
        return planned + [path for path in derived_paths(self.layout) if has_rows(self.layout, path)]

    def array(self, path: str) -> Any:
        """The Zarr array at a path, read-only. Raises NoSuchFeature listing those that exist, StaleDerived, ShardDamaged."""
        if path not in self._arrays:
            known = inside(path) and (path in self._known or path.startswith("derived/"))
            if not known or not (self.layout.array(path) / "zarr.json").is_file():
                raise NoSuchFeature(f"{self.path} holds no {path!r}; it has {', '.join(self.features)}")
            if path.startswith("derived/"):
                self.check_fresh(path)
                self._derived[path] = checksums_of(self.layout, path)
            else:
                self.planned_files.check(f"features.zarr/{path}/zarr.json")
            try:
                array = open_for_reading(self.layout.features, path)
                self._direct[path] = DirectArray.of(array, self.layout.array(path)) if array.shards else None
                by_row = array.metadata.dimension_names[0] == "row"
                if by_row and array.shape[0] != self.shards.n_rows:
                    raise ValueError(f"{counted(array.shape[0], 'row')}, the recipe has {self.shards.n_rows}")
            except UNREADABLE as error:
                raise self._damaged(path, "zarr.json", error) from error
            self._arrays[path] = array
        return self._arrays[path]

    def shards_of(self, path: str) -> CommittedShards:
        """The commits to which the shards of this array belong: of its added layer, or of what was planned together."""
        return self._shards_of.get(path, self.shards)

    def attributes(self, path: str) -> dict[str, Any]:
        """Attributes of one derived array, from its metadata file. Raises ShardDamaged."""
        return derived_attributes(self.layout, path)

    def source_fingerprint(self, sources: Sequence[str]) -> str:
        """sha256 of the recipe and of the checksums of all shards of the arrays at `sources`. Raises Incomplete."""
        checksums = [
            self.shards_of(path)
            .commit(shard)
            .objects[f"{path}/{object_key(shard, len(self.array(path).shape))}"]
            .sha256
            for path in sources
            for shard in range(self.shards.n_shards)
        ]
        return fingerprint([self.shards.fingerprint, list(sources), checksums])

    def check_fresh(self, path: str) -> None:
        """Raises StaleDerived where the arrays that a derived array was made from have changed since."""
        attributes = self.attributes(path)
        sources = attributes.get("sources")
        if not isinstance(sources, list) or not set(map(str, sources)) <= self._known:
            raise ShardDamaged(
                f"{path} of {self.path} does not say which arrays it was made from: {derive_again(self.layout)}"
            )
        if attributes.get("source_fingerprint") != self.source_fingerprint(sources):
            raise StaleDerived(
                f"{path} was made from other data than {self.path} holds now ({', '.join(sources)}): "
                f"`{command('derive', self.path)}` makes it again"
            )

    def read(self, path: str, index: ArrayLike) -> np.ndarray:
        """Rows of one array in the order of `index`, in the stored dtype; see `Store.read`."""
        feature = parse_feature(path)
        array = self.array(feature.path)
        index = np.asarray(index, dtype=np.int64)
        if index.ndim != 1 or (len(index) and not 0 <= index.min() <= index.max() < array.shape[0]):
            raise IndexError(f"{path}: row numbers must be one list within 0 … {array.shape[0] - 1}")
        out = self.empty_block(feature, len(index))
        order = np.argsort(index, kind="stable")
        for first, last in blocks(index[order], self.shards.shard_rows):
            positions = order[first:last]
            start, stop = int(index[positions[0]]), int(index[positions[-1]]) + 1
            if stop - start == last - first == len(index) and bool(np.all(np.diff(positions) == 1)):
                self.read_block(feature, start, stop, out=out)
            else:
                block = self.read_block(feature, start, stop, out=self.empty_block(feature, stop - start))
                out[positions] = block[index[positions] - start]
        return self.drop_axes(feature, out)

    def empty_block(self, feature: Feature, n_rows: int) -> np.ndarray:
        """Uninitialised memory for n_rows of a feature, all axes kept."""
        array = self.array(feature.path)
        inner, _ = feature.selection(array.metadata.dimension_names, array.shape)
        return np.empty((n_rows, *(part.stop - part.start for part in inner)), dtype=array.dtype)

    def drop_axes(self, feature: Feature, block: np.ndarray) -> np.ndarray:
        """The same numbers without the axes on which the feature names one index."""
        array = self.array(feature.path)
        _, drop = feature.selection(array.metadata.dimension_names, array.shape)
        return block.reshape([n for axis, n in enumerate(block.shape) if axis not in drop])

    def read_block(self, feature: Feature, start: int, stop: int, *, out: np.ndarray) -> np.ndarray:
        """Read rows [start, stop) into `out`, all axes kept, and return it. Raises Incomplete, ShardDamaged."""
        array, direct = self.array(feature.path), self._direct[feature.path]
        inner, _ = feature.selection(array.metadata.dimension_names, array.shape)
        chunks: dict[int, str | None] = {}
        for shard in shards_of_range(start, stop, self.shards.shard_rows):
            chunks[shard] = self._check_file(feature.path, shard, len(array.shape), by_chunks=direct is not None)
        try:
            if direct is None:
                read_into(array, (slice(start, stop), *inner), out)
            else:
                direct.read_into((slice(start, stop), *inner), out, chunks.__getitem__)
        except UNREADABLE as error:
            raise self._damaged(feature.path, f"rows {start}–{stop - 1}", error) from error
        return out

    def whole(self, path: str) -> np.ndarray:
        """All of an array that lies in one file: a planned column, or a small derived array. Raises ShardDamaged."""
        array = self.array(path)
        self._check_file(path, 0, len(array.shape), by_chunks=False)
        try:
            values: np.ndarray = array[...]
        except UNREADABLE as error:
            raise self._damaged(path, "all of it", error) from error
        return values

    def _check_file(self, path: str, shard: int, rank: int, *, by_chunks: bool) -> str | None:
        """Check one file; see `CommittedShards.check_file`."""
        if path.startswith("derived/"):
            self.planned_files.bring(f"features.zarr/{path}/{object_key(shard, rank)}", None)
            return self._derived[path].check(shard, rank, by_chunks=by_chunks)
        return self.shards_of(path).check_file(path, shard, rank, by_chunks=by_chunks)

    def _damaged(self, path: str, part: str, error: Exception) -> ShardDamaged:
        if path.startswith("derived/"):
            advice = derive_again(self.layout)
        else:
            advice = f"`{command('verify', self.path, '--repair')}` says which shards to extract again"
        return ShardDamaged(f"{self.path}: {part} of {path} cannot be decoded ({error}); {advice}")


def blocks(ascending: NDArray[np.int64], shard_rows: int, gap_rows: int = 64) -> Iterator[tuple[int, int]]:
    """Cut ascending row numbers into runs [first, last) that stay in one shard and have no gap above gap_rows."""
    if not len(ascending):
        return
    cut = np.flatnonzero((np.diff(ascending) > gap_rows) | (np.diff(ascending // shard_rows) > 0)) + 1
    edges = [0, *cut.tolist(), len(ascending)]
    yield from pairwise(edges)
