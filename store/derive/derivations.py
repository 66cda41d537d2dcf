"""The derived arrays of one array: their names, whether they are fresh, and how they are made and published."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.store.derive import moments as train_moments
from keybed.store.derive import shard_frames
from keybed.store.derive.moments import TrainMoments
from keybed.store.derive.pca import Components, principal_components
from keybed.store.disk.derived_files import METADATA, seal_derived
from keybed.store.disk.durable import disk_error, sha256_of, sync_folder, sync_tree
from keybed.store.disk.staging import staging_folder
from keybed.store.disk.zarr_arrays import make_array
from keybed.store.errors import ShardDamaged, StoreError
from keybed.store.format.array_specs import FRAMES_CHUNK_ROWS, ArraySpec
from keybed.store.format.layout import Layout, object_key
from keybed.store.format.recipe import EncoderSpec
from keybed.store.read.derived import INT8_MISSING, missing_objects
from keybed.store.read.opening import open_store
from keybed.store.read.store import Store

VERSION = 2
"""Increase it when the arithmetic of a derivation changes: all derived arrays are then made again."""

_MAX_RUNS, _MAX_PRODUCT_BYTES = 64, 2**30

Gather = Callable[[str, Sequence[partial[Any]]], list[Any]]
"""(description, tasks) → results in the order of the tasks, which may run in any order and process."""


class Derivation:
    """The derived arrays of one encoder's `frames` or `layers`. k: PCA components; int8: whether to make int8 views."""

    def __init__(
        self,
        store: Store,
        encoder: EncoderSpec,
        kind: str,
        gather: Gather,
        *,
        k: int,
        int8: bool,
    ) -> None:
        self.store, self.encoder, self.kind, self.gather = store, encoder, kind, gather
        self.wanted_k, self.int8 = k, int8
        self.array = f"{encoder.group}/{kind}"
        self.base = f"derived/{encoder.name}/{kind}"
        masks = [f"{encoder.group}/mask"] if kind == "frames" and encoder.has_mask else []
        self.sources = (self.array, *masks, "row/status")
        self.content = store.reader.source_fingerprint(self.sources)
        self.inner = store.array(self.array).shape[1:] if kind == "layers" else store.array(self.array).shape[2:]

    def steps(self) -> Iterator[tuple[list[str], Callable[[], None]]]:
        """(paths, the function that makes them), each after those that it needs."""
        yield [f"{self.base}_mean", f"{self.base}_std", f"{self.base}_reach"], self.make_moments
        if self.kind == "frames" and self.wanted_k:
            name = f"{self.base}_pca{self.k}"
            yield [f"{name}_components", f"{name}_variance", name], self.make_pca
        if self.int8:
            name = f"{self.base}_int8"
            yield [f"{name}_offset", f"{name}_scale", name], self.make_int8

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the axes of `inner`."""
        return ("stat", "state", "channel") if self.kind == "layers" else ("bin_stat", "channel")

    @property
    def k(self) -> int:
        """Components requested, at most the number of dimensions."""
        return min(self.wanted_k, int(np.prod(self.inner)))

    def fresh(self, path: str) -> bool:
        """True where the array exists with all files and checksums and was made by this version from the current source."""
        try:
            if missing_objects(self.store.reader, path):
                return False
            stored = self.store.reader.attributes(path)
        except ShardDamaged:
            return False
        return METADATA in stored and all(stored.get(key) == value for key, value in self.attributes().items())

    def attributes(self) -> dict[str, Any]:
        """Attributes that every derived array carries."""
        return {
            "sources": list(self.sources),
            "source_fingerprint": self.content,
            "derivation": {"version": VERSION},
            "random_weights": self.encoder.random_weights,
        }

    @cached_property
    def train_shards(self) -> range:
        """Shards that contain training rows."""
        last = self.store.splits["train"][1]
        return range(sum(self.store.shard_range(shard)[0] < last for shard in range(self.store.n_shards)))

    @cached_property
    def measured(self) -> TrainMoments:
        """One pass over the training shards. Raises StoreError where they hold fewer than two observations."""
        where = (str(self.store.path), self.content, self.array)
        per_shard = (train_moments.units_of(*where, shard) for shard in self.train_shards)
        units = next((units for units in per_shard if units is not None), None)
        if units is None:
            raise StoreError(f"{self.array}: no training observation to compute a mean of")
        wide = self.kind == "frames" and bool(self.wanted_k)
        tasks = [
            partial(train_moments.sums_of, *where, shards, units, wide)
            for shards in _runs(self.train_shards, len(units.centre) if wide else 0)
        ]
        first, *others = self.gather(f"{self.base}: moments", tasks)
        for other in others:
            first = first.plus(other)
        if first.n < 2:
            raise StoreError(f"{self.array}: {first.n} training observation is too few for a standard deviation")
        return train_moments.finished(first, units)

    def make_moments(self) -> None:
        """Make mean, standard deviation and reach (the largest deviation from the mean)."""
        moments, dims = self.measured, self.dims
        with self.staged() as folder:
            for suffix, values in (("_mean", moments.mean), ("_std", moments.std), ("_reach", moments.reach)):
                self.small(folder, suffix, values.reshape(self.inner), dims, n_observations=moments.n)

    def make_pca(self) -> None:
        """Make the components of the standardised numbers of a bin (stat × channel), and every bin projected on them."""
        correlation = self.measured.correlation
        assert correlation is not None
        self.write_pca(principal_components(correlation, self.k), self.saved("_mean"), self.safe_std())

    def write_pca(self, pca: Components, mean: NDArray[np.float32], std: NDArray[np.float32]) -> None:
        """Write components, their variances and the projected rows."""
        name = f"_pca{self.k}"
        vectors = pca.vectors.astype(np.float32)
        kept = float(pca.variances.sum() / pca.total_variance) if pca.total_variance else 1.0
        n_bins = self.store.array(self.array).shape[1]
        spec = self.rows_spec(name, (n_bins, self.k), ("bin", "component"), "float16", float("nan"), variance_kept=kept)
        with self.staged() as folder:
            shaped = vectors.reshape(self.k, *self.inner)
            self.small(folder, f"{name}_components", shaped, ("component", "bin_stat", "channel"))
            self.small(folder, f"{name}_variance", pca.variances.astype(np.float32), ("component",))
            self.make_empty(folder, spec)
            self.each_shard("projecting", folder, spec, shard_frames.write_projection, mean, std, vectors)

    def make_int8(self) -> None:
        """Make the int8 view. Offset: the train mean. Scale: the largest deviation from it in training, divided by 127."""
        offset, reach = self.saved("_mean"), self.saved("_reach")
        scale = np.where(reach > 0, reach / 127, 1).astype(np.float32)
        shape = self.store.array(self.array).shape[1:]
        dims = self.dims if self.kind == "layers" else ("bin", *self.dims)
        spec = self.rows_spec("_int8", shape, dims, "int8", INT8_MISSING)
        with self.staged() as folder:
            self.small(folder, "_int8_offset", offset, self.dims)
            self.small(folder, "_int8_scale", scale, self.dims)
            self.make_empty(folder, spec)
            self.each_shard("int8", folder, spec, shard_frames.write_int8, offset, scale)

    def each_shard(self, what: str, folder: Path, spec: ArraySpec, write: Callable[..., str], *arguments: Any) -> None:
        """Call write(path, content, array, shard, *arguments, spec, folder) for every shard, and seal the array."""
        where = (str(self.store.path), self.content, self.array)
        shards = range(self.store.n_shards)
        tasks = [partial(write, *where, shard, *arguments, spec, str(folder)) for shard in shards]
        checksums = self.gather(f"{self.base}: {what}", tasks)
        keys = (object_key(shard, len(spec.shape)) for shard in shards)
        seal_derived(folder, spec.path, dict(zip(keys, checksums, strict=True)))

    def saved(self, suffix: str) -> NDArray[np.float32]:
        """A small array that an earlier step made."""
        values: NDArray[np.float32] = open_store(self.store.path).reader.whole(f"{self.base}{suffix}")
        return values

    def safe_std(self) -> NDArray[np.float32]:
        """Standard deviations, with 1 where a number never varies."""
        std = self.saved("_std")
        return np.where(std > 0, std, np.float32(1))

    def rows_spec(
        self, suffix: str, inner: tuple[int, ...], dims: tuple[str, ...], dtype: str, fill: float | int, **extra: Any
    ) -> ArraySpec:
        """The specification of a derived array with one entry per row, on the shard grid."""
        n, shard = self.store.n_rows, self.store.shard_rows
        return ArraySpec(
            path=f"{self.base}{suffix}",
            shape=(n, *inner),
            dtype=dtype,
            dims=("row", *dims),
            chunks=(min(FRAMES_CHUNK_ROWS, shard), *inner),
            shards=(shard, *inner),
            fill_value=fill,
            writer="task",
            attributes={**self.attributes(), **extra},
        )

    def make_empty(self, folder: Path, spec: ArraySpec) -> None:
        """Create an array in the staging folder, metadata only."""
        from zarr.storage import LocalStore

        make_array(LocalStore(folder), spec)

    def small(
        self, folder: Path, suffix: str, values: NDArray[np.float32], dims: tuple[str, ...], **extra: Any
    ) -> None:
        """Write a whole small array into the staging folder."""
        from zarr.storage import LocalStore

        spec = ArraySpec(
            path=f"{self.base}{suffix}",
            shape=values.shape,
            dtype="float32",
            dims=dims,
            chunks=values.shape,
            shards=None,
            fill_value=float("nan"),
            writer="plan",
            attributes={**self.attributes(), **extra},
        )
        make_array(LocalStore(folder), spec)[...] = values
        key = object_key(0, values.ndim)
        seal_derived(folder, spec.path, {key: sha256_of(folder / spec.path / key)})

    @contextmanager
    def staged(self) -> Iterator[Path]:
        """A staging folder; when the block ends, each array in it replaces the one of the same name by rename."""
        layout = Layout(self.store.path)
        try:
            folder = staging_folder(layout.root, "derived")
        except OSError as error:
            raise disk_error(error, layout.root) from error
        try:
            yield folder
            sync_tree(folder)
            _publish(folder, layout.features)
        except OSError as error:
            raise disk_error(error, layout.features / self.base) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _runs(shards: range, n_numbers: int) -> list[range]:
    """Cut shards into runs that are summed together: at most 64 runs, and 1 GiB of products (D, D) in all."""
    products = 8 * n_numbers**2
    n = max(1, min(len(shards), _MAX_RUNS, _MAX_PRODUCT_BYTES // products if products else _MAX_RUNS))
    return [shards[len(shards) * i // n : len(shards) * (i + 1) // n] for i in range(n)]


def _publish(folder: Path, features: Path) -> None:
    from zarr import create_group
    from zarr.storage import LocalStore

    arrays = sorted(file.parent.relative_to(folder) for file in folder.rglob("zarr.json"))
    for path in [path for path in arrays if len(path.parts) == 3]:
        for group in (path.parent.parent, path.parent):
            if not (features / group / "zarr.json").exists():
                create_group(LocalStore(features), path=group.as_posix())
        target = features / path
        if target.exists():
            target.rename(folder / f"{path.name}.old")
        (folder / path).rename(target)
        sync_folder(target.parent)
