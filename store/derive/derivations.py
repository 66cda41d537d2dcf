"""The derivations of one array: what each is called, when it is fresh, how it is made and put in its place."""

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
from keybed.store.disk.durable import disk_error, sync_folder, sync_tree
from keybed.store.disk.staging import staging_folder
from keybed.store.disk.zarr_arrays import make_array
from keybed.store.errors import StoreError
from keybed.store.format.array_specs import FRAMES_CHUNK_ROWS, ArraySpec
from keybed.store.format.layout import Layout
from keybed.store.format.recipe import EncoderSpec
from keybed.store.read.derived import INT8_MISSING, missing_objects
from keybed.store.read.store import Store, open_store

VERSION = 2
"""Raised when the arithmetic of a derivation changes: everything derived is made again then."""

_RUNS, _PRODUCTS_BYTES = 64, 2**30

Gather = Callable[[str, Sequence[partial[Any]]], list[Any]]
"""Runs tasks, in any order and place, and gives their results in the order of the tasks."""


class Derivation:
    """The derivations of one encoder's `frames` or `layers`."""

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
        """(paths, what makes them), in the order in which they need each other."""
        yield [f"{self.base}_mean", f"{self.base}_std", f"{self.base}_reach"], self.make_moments
        if self.kind == "frames" and self.wanted_k:
            name = f"{self.base}_pca{self.k}"
            yield [f"{name}_components", f"{name}_variance", name], self.make_pca
        if self.int8:
            name = f"{self.base}_int8"
            yield [f"{name}_offset", f"{name}_scale", name], self.make_int8

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of what `inner` counts."""
        return ("stat", "state", "channel") if self.kind == "layers" else ("bin_stat", "channel")

    @property
    def k(self) -> int:
        """Components asked for, or as many as there are dimensions."""
        return min(self.wanted_k, int(np.prod(self.inner)))

    def fresh(self, path: str) -> bool:
        """True where the array exists, whole, and was made by this arithmetic from these very bytes."""
        if not (Layout(self.store.path).array(path) / "zarr.json").is_file() or missing_objects(
            self.store.reader, path
        ):
            return False
        about = self.store.reader.attributes(path)
        wanted = self.about()
        return all(about.get(key) == value for key, value in wanted.items())

    def about(self) -> dict[str, Any]:
        """What every derived array says of itself."""
        return {
            "sources": list(self.sources),
            "source_fingerprint": self.content,
            "derivation": {"version": VERSION},
            "random_weights": self.encoder.random_weights,
        }

    @cached_property
    def train_shards(self) -> range:
        """Shards that hold training rows."""
        last = self.store.splits["train"][1]
        return range(sum(self.store.shard_range(shard)[0] < last for shard in range(self.store.n_shards)))

    @cached_property
    def measured(self) -> TrainMoments:
        """One pass over the training shards. Raises StoreError where they hold fewer than two observations."""
        where = (str(self.store.path), self.content, self.array)
        candidates = (train_moments.units_of(*where, shard) for shard in self.train_shards)
        units = next((found for found in candidates if found is not None), None)
        if units is None:
            raise StoreError(f"{self.array}: no training observation to take a mean of")
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
        """Mean, standard deviation and reach."""
        found, dims = self.measured, self.dims
        with self.staged() as folder:
            for suffix, values in (("_mean", found.mean), ("_std", found.std), ("_reach", found.reach)):
                self.small(folder, suffix, values.reshape(self.inner), dims, n_observations=found.n)

    def make_pca(self) -> None:
        """Components of the standardised numbers of a bin (stat × channel), then every bin projected on them."""
        correlation = self.measured.correlation
        assert correlation is not None
        self.write_pca(principal_components(correlation, self.k), self.saved("_mean"), self.safe_std())

    def write_pca(self, found: Components, mean: NDArray[np.float32], std: NDArray[np.float32]) -> None:
        """Components, their variances and the projected rows."""
        name = f"_pca{self.k}"
        vectors = found.vectors.astype(np.float32)
        kept = float(found.variances.sum() / found.total_variance) if found.total_variance else 1.0
        n_bins = self.store.array(self.array).shape[1]
        spec = self.rows_spec(name, (n_bins, self.k), ("bin", "component"), "float16", float("nan"), variance_kept=kept)
        with self.staged() as folder:
            shaped = vectors.reshape(self.k, *self.inner)
            self.small(folder, f"{name}_components", shaped, ("component", "bin_stat", "channel"))
            self.small(folder, f"{name}_variance", found.variances.astype(np.float32), ("component",))
            self.make_empty(folder, spec)
            self.each_shard("projecting", shard_frames.write_projection, mean, std, vectors, spec, str(folder))

    def make_int8(self) -> None:
        """Offset: the train mean. Scale: the largest deviation from it in training, over 127."""
        offset, reach = self.saved("_mean"), self.saved("_reach")
        scale = np.where(reach > 0, reach / 127, 1).astype(np.float32)
        shape = self.store.array(self.array).shape[1:]
        dims = self.dims if self.kind == "layers" else ("bin", *self.dims)
        spec = self.rows_spec("_int8", shape, dims, "int8", INT8_MISSING)
        with self.staged() as folder:
            self.small(folder, "_int8_offset", offset, self.dims)
            self.small(folder, "_int8_scale", scale, self.dims)
            self.make_empty(folder, spec)
            self.each_shard("int8", shard_frames.write_int8, offset, scale, spec, str(folder))

    def each_shard(self, what: str, write: Callable[..., int], *arguments: Any) -> None:
        """write(path, content, array, shard, *arguments) for every shard."""
        where = (str(self.store.path), self.content, self.array)
        tasks = [partial(write, *where, shard, *arguments) for shard in range(self.store.n_shards)]
        self.gather(f"{self.base}: {what}", tasks)

    def saved(self, suffix: str) -> NDArray[np.float32]:
        """A small array made before."""
        values: NDArray[np.float32] = open_store(self.store.path).array(f"{self.base}{suffix}")[...]
        return values

    def safe_std(self) -> NDArray[np.float32]:
        """Standard deviations with 1 for what never varies."""
        std = self.saved("_std")
        return np.where(std > 0, std, np.float32(1))

    def rows_spec(
        self, suffix: str, inner: tuple[int, ...], dims: tuple[str, ...], dtype: str, fill: float | int, **extra: Any
    ) -> ArraySpec:
        """A derived array on the shard grid."""
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
            attributes={**self.about(), **extra},
        )

    def make_empty(self, folder: Path, spec: ArraySpec) -> None:
        """Metadata of an array in the staging folder."""
        from zarr.storage import LocalStore

        make_array(LocalStore(folder), spec)

    def small(
        self, folder: Path, suffix: str, values: NDArray[np.float32], dims: tuple[str, ...], **extra: Any
    ) -> None:
        """A whole small array in the staging folder."""
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
            attributes={**self.about(), **extra},
        )
        make_array(LocalStore(folder), spec)[...] = values

    @contextmanager
    def staged(self) -> Iterator[Path]:
        """A folder beside the group; what is in it afterwards replaces the arrays of the same names, each by rename."""
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
    """Runs of shards that are summed together, by the shards alone: at most 64, and 1 GiB of products (D, D) in all."""
    products = 8 * n_numbers**2
    n = max(1, min(len(shards), _RUNS, _PRODUCTS_BYTES // products if products else _RUNS))
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
