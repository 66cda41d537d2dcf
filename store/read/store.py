"""`Store`, the public face of reading: select rows, read features, stream training batches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keybed.store.counted import counted
from keybed.store.disk.commits import Commit
from keybed.store.disk.missing_files import missing_files
from keybed.store.errors import Incomplete, NewerFormat, NotAStore
from keybed.store.format import shards
from keybed.store.format.layout import Layout
from keybed.store.format.recipe import FORMAT_VERSION, Recipe
from keybed.store.format.rows import Rows
from keybed.store.format.vocabulary import SPLITS, TIERS, Status
from keybed.store.read import derived
from keybed.store.read.batches import BUFFER_ROWS, Batch, batches
from keybed.store.read.columns import RowColumns
from keybed.store.read.derived import Moments
from keybed.store.read.reader import Reader


class Store:
    """An open store. Reading is thread-safe; nothing here writes.

    path: its folder. recipe: everything that shapes a number in it; fingerprint: sha256 of the recipe. specs: its arrays.
    splits: split → rows (start, stop). `committed` is read from the disk at every call, so that a store can be
    watched while tasks fill it.
    """

    def __init__(self, path: Path, recipe: Recipe, group_attributes: Mapping[str, Any]) -> None:
        self.path = path
        self.recipe = recipe
        self.reader = Reader(Layout(path), recipe)
        self.fingerprint = recipe.fingerprint
        self.specs = self.reader.shards.specs
        self.n_rows, self.shard_rows = recipe.n_rows, recipe.shard_rows
        self.n_shards = self.reader.shards.n_shards
        ranges = group_attributes["splits"].items()
        self.splits: dict[str, tuple[int, int]] = {name: (int(start), int(stop)) for name, (start, stop) in ranges}
        self._layout = self.reader.layout
        self._columns = RowColumns(self.reader)

    @cached_property
    def recordings(self) -> list[dict[str, Any]]:
        """The recordings' JSON entries, in the order of `row/recording`."""
        entries: list[dict[str, Any]] = json.loads(self._layout.recordings.read_bytes())
        return entries

    @property
    def machine_paths(self) -> dict[str, str]:
        """Paths of corpus, soundfont and weights on the machine that planned the store; not part of the recipe."""
        paths: dict[str, str] = json.loads(self._layout.machine_paths.read_bytes())
        return paths

    @property
    def committed(self) -> frozenset[int]:
        """Shards that have a commit now: they are whole and may be read."""
        return self.reader.shards.numbers

    @property
    def features(self) -> list[str]:
        """Paths of the arrays with one entry per row that hold features or their masks, `derived/…` included."""
        return self.reader.features

    def notes_path(self, recording: int) -> Path:
        """File of one recording's notes, e.g. `notes/00017.npz`."""
        return self._layout.notes_of(recording)

    def shard_range(self, shard: int) -> tuple[int, int]:
        """Rows (start, stop) of a shard. Raises IndexError for a shard that does not exist."""
        return self.reader.shards.rows_of(shard)

    def commit(self, shard: int) -> Commit:
        """The commit of one shard. Raises Incomplete where there is none, ShardDamaged where it is unreadable."""
        return self.reader.shards.commit(shard)

    def forget(self, shard: int) -> None:
        """Drop what is kept in memory of a shard whose commit was removed."""
        self.reader.shards.forget(shard)

    def columns(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """The plan-written columns of rows [start, stop), by their names without "row/"."""
        return {name: column[start:stop] for name, column in self._columns.planned.items()}

    def array(self, path: str) -> Any:
        """The Zarr array at a path, read-only. Raises NoSuchFeature listing those that exist, StaleDerived."""
        return self.reader.array(path)

    def rows(
        self,
        split: str | Sequence[str] | None = None,
        tiers: Sequence[str] | None = None,
        status: str | None = "ok",
        segments: ArrayLike | None = None,
        *,
        allow_missing: bool = False,
    ) -> Rows:
        """Rows of these splits, tiers and segments, in store order; status "ok" leaves failed rows out.

        Raises Incomplete when a shard of the wanted splits is uncommitted, unless allow_missing leaves its rows out.
        """
        if status not in ("ok", None):
            raise ValueError(f'status {status!r}: "ok" or None')
        index = self._row_numbers(_names(split, SPLITS, "split"))
        committed = self.committed
        available = np.isin(index // self.shard_rows, list(committed))
        if not available.all() and not allow_missing:
            missing = sorted(set((index[~available] // self.shard_rows).tolist()))
            raise Incomplete(
                f"{self.path}: {len(missing)} of {counted(self.n_shards, 'shard')} not committed: "
                f"`keybed status {self.path}` says why, `keybed extract {self.path} --shards {shards.as_ranges(missing)}` makes "
                "them; allow_missing=True selects the committed rows only"
            )
        index = index[available]
        columns = {**self._columns.planned, **self._columns.task_written(committed)}
        keep = np.ones(len(index), bool)
        if tiers is not None:
            wanted = [TIERS.index(name) for name in _names(tiers, TIERS, "tier")]
            keep &= np.isin(columns["tier"][index], wanted)
        if segments is not None:
            keep &= np.isin(columns["segment"][index], np.asarray(segments))
        if status == "ok":
            keep &= columns["status"][index] == Status.OK
        index = index[keep]
        return Rows(index=index, **{name: column[index] for name, column in columns.items()})

    def read(self, path: str, index: ArrayLike) -> np.ndarray:
        """Rows of one array in the order of `index`, in the stored dtype; read in contiguous blocks of at most a shard.

        path may select along named axes: `audio/mert/layers[state=7]` drops the axis, `[state=7:9]` keeps it.
        Raises NoSuchFeature, Incomplete, ShardDamaged, StaleDerived.
        """
        return self.reader.read(path, index)

    def batches(
        self,
        features: Sequence[str],
        rows: Rows,
        batch_rows: int,
        *,
        seed: int | None,
        epoch: int = 0,
        drop_last: bool = False,
        buffer_rows: int = BUFFER_ROWS,
    ) -> Iterator[Batch]:
        """Batches for training; see `keybed.store.read.batches.batches`."""
        return batches(
            self.reader,
            features,
            rows,
            batch_rows,
            seed=seed,
            epoch=epoch,
            drop_last=drop_last,
            buffer_rows=buffer_rows,
        )

    def check_fresh(self, path: str) -> None:
        """Raises StaleDerived where the arrays that a derived array was made from have changed since."""
        self.reader.check_fresh(path)

    def moments(self, encoder: str, kind: str = "frames") -> Moments:
        """Train-split moments of one encoder's `frames` (bin_stat, channel) or `layers` (stat, state, channel)."""
        return derived.moments(self.reader, encoder, kind)

    def from_int8(self, path: str, values: NDArray[np.int8]) -> NDArray[np.float32]:
        """Numbers of the int8 view at `path`: offset + scale × value; failed rows become NaN.

        values: rows of the view with their last axes (bin_stat, channel) whole.
        """
        return derived.from_int8(self.reader, path, values)

    def _row_numbers(self, splits: Sequence[str]) -> NDArray[np.int64]:
        return np.concatenate([np.arange(*self.splits[name], dtype=np.int64) for name in splits])


def open_store(path: str | Path, *, even_if_damaged: bool = False) -> Store:
    """Open a store for reading. Raises NotAStore (not a store, or only part of one) and NewerFormat.

    even_if_damaged: do not check that every file exists; for `verify` and repair.
    """
    path = Path(path).absolute()
    layout = Layout(path)
    try:
        plain = json.loads(layout.recipe.read_bytes())
        group = json.loads((layout.features / "zarr.json").read_bytes())["attributes"]["keybed"]
    except (FileNotFoundError, NotADirectoryError) as error:
        partly = layout.features.exists() or layout.recipe.exists()
        what = "only part of a store (copied half-way?)" if partly else "no store"
        raise NotAStore(
            f"{path} is {what}: {Path(str(error.filename)).name} is missing; `keybed plan` makes a store"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise NotAStore(
            f"{path}: recipe.json or features.zarr/zarr.json cannot be read ({error}); copy the store again"
        ) from error
    _check_format(path, plain, group)
    try:
        recipe = Recipe.from_json(plain["recipe"])
    except (ValueError, KeyError, TypeError) as error:
        raise NotAStore(f"{path}/recipe.json is not a recipe of format {FORMAT_VERSION}: {error}") from error
    if not recipe.fingerprint == plain["fingerprint"] == group["fingerprint"]:
        raise NotAStore(
            f"{path}: recipe.json and features.zarr belong to different stores, or one was edited "
            f"(fingerprints {recipe.fingerprint[:12]}, {plain['fingerprint'][:12]}, {group['fingerprint'][:12]})"
        )
    store = Store(path, recipe, group)
    if not even_if_damaged:
        missing = missing_files(layout, store.specs, store.committed if layout.commits.is_dir() else frozenset())
        if missing:
            raise NotAStore(
                f"{path} is incomplete (copied half-way?): {counted(len(missing), 'file')} missing, the first is "
                f"{missing[0]}. Copy it again, or run `keybed verify {path} --repair` to make the lost shards again"
            )
    return store


def _check_format(path: Path, plain: Any, group: Any) -> None:
    version = max(int(group["format_version"]), int(plain["recipe"]["format_version"]))
    if version > FORMAT_VERSION:
        raise NewerFormat(f"{path} has format {version}, this Keybed reads up to {FORMAT_VERSION}: update Keybed")


def _names(wanted: str | Sequence[str] | None, known: tuple[str, ...], what: str) -> tuple[str, ...]:
    if wanted is None:
        return known
    given = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"{what} {', '.join(unknown)}: there are {', '.join(known)}")
    return tuple(name for name in known if name in given)
