"""Reading the arrays of a store in contiguous blocks of rows.

A path such as `audio/mert/layers` names an array of the Zarr group. A derived array (`derived/…`) is made by
`keybed derive` from others; it is fresh while the arrays that it was made from are unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keybed.store.disk.blosc_shards import DirectArray
from keybed.store.disk.zarr_arrays import open_for_reading, read_into
from keybed.store.errors import NoSuchFeature, ShardDamaged, StaleDerived
from keybed.store.format.feature import Feature, parse_feature
from keybed.store.format.layout import Layout, object_key
from keybed.store.format.recipe import Recipe, fingerprint
from keybed.store.format.shards import shards_of_range
from keybed.store.read.committed import CommittedShards


class Reader:
    """Open arrays of one store. Reading is thread-safe; nothing is written."""

    def __init__(self, layout: Layout, recipe: Recipe) -> None:
        self.layout = layout
        self.shards = CommittedShards(layout, recipe)
        self._arrays: dict[str, Any] = {}
        self._direct: dict[str, DirectArray | None] = {}

    @property
    def path(self) -> Path:
        """The store's folder."""
        return self.layout.root

    @property
    def features(self) -> list[str]:
        """Paths of the arrays with one entry per row that hold features or their masks, `derived/…` included."""
        planned = [spec.path for spec in self.shards.specs if not spec.path.startswith("row/")]
        derived = self.layout.features / "derived"
        folders = sorted(file.parent for file in derived.rglob("zarr.json")) if derived.is_dir() else []
        return planned + [
            folder.relative_to(self.layout.features).as_posix()
            for folder in folders
            if json.loads((folder / "zarr.json").read_bytes()).get("dimension_names", [None])[0] == "row"
        ]

    def array(self, path: str) -> Any:
        """The Zarr array at a path, read-only. Raises NoSuchFeature listing those that exist, StaleDerived."""
        if path not in self._arrays:
            if not (self.layout.array(path) / "zarr.json").is_file():
                raise NoSuchFeature(f"{self.path} holds no {path!r}; it has {', '.join(self.features)}")
            if path.startswith("derived/"):
                self.check_fresh(path)
            array = open_for_reading(self.layout.features, path)
            self._direct[path] = DirectArray.of(array, self.layout.array(path)) if array.shards else None
            self._arrays[path] = array
        return self._arrays[path]

    def attributes(self, path: str) -> dict[str, Any]:
        """Attributes of one array, from its metadata file."""
        attributes: dict[str, Any] = json.loads((self.layout.array(path) / "zarr.json").read_bytes())["attributes"]
        return attributes

    def source_fingerprint(self, sources: Sequence[str]) -> str:
        """sha256 of the recipe and of the checksums of all shards of the arrays at `sources`. Raises Incomplete."""
        checksums = [
            self.shards.commit(shard).objects[f"{path}/{object_key(shard, len(self.array(path).shape))}"].sha256
            for path in sources
            for shard in range(self.shards.n_shards)
        ]
        return fingerprint([self.shards.fingerprint, list(sources), checksums])

    def check_fresh(self, path: str) -> None:
        """Raises StaleDerived where the arrays that a derived array was made from have changed since."""
        attributes = self.attributes(path)
        sources = attributes["sources"]
        if attributes["source_fingerprint"] != self.source_fingerprint(sources):
            raise StaleDerived(
                f"{path} was made from other data than {self.path} holds now ({', '.join(sources)}): "
                f"`keybed derive {self.path}` makes it again"
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
        for shard in shards_of_range(start, stop, self.shards.shard_rows):
            self.shards.check_file(feature.path, shard, len(array.shape))
        try:
            if direct is None:
                read_into(array, (slice(start, stop), *inner), out)
            else:
                direct.read_into((slice(start, stop), *inner), out)
        except (RuntimeError, ValueError, OSError) as error:
            raise self._damaged(feature.path, start, stop, error) from error
        return out

    def _damaged(self, path: str, start: int, stop: int, error: Exception) -> ShardDamaged:
        if path.startswith("derived/"):
            advice = f"`keybed verify {self.path} --repair` removes it, `keybed derive {self.path}` makes it again"
        else:
            advice = f"`keybed verify {self.path} --repair` says which shards to extract again"
        return ShardDamaged(f"{self.path}: rows {start}–{stop - 1} of {path} cannot be decoded ({error}); {advice}")


def blocks(ascending: NDArray[np.int64], shard_rows: int, gap_rows: int = 64) -> Iterator[tuple[int, int]]:
    """Cut ascending row numbers into runs [first, last) that stay in one shard and have no gap above gap_rows."""
    if not len(ascending):
        return
    cut = np.flatnonzero((np.diff(ascending) > gap_rows) | (np.diff(ascending // shard_rows) > 0)) + 1
    edges = [0, *cut.tolist(), len(ascending)]
    yield from pairwise(edges)
