"""Opening a store and reading rows from it: contiguous blocks, any order asked for, nothing unproven."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keybed.store.disk.commits import Commit, committed, read_commit
from keybed.store.disk.missing_files import missing_files
from keybed.store.errors import Incomplete, NewerFormat, NoSuchFeature, NotAStore, ShardDamaged
from keybed.store.format import shards
from keybed.store.format.array_specs import ArraySpec, array_specs
from keybed.store.format.feature import Feature, parse_feature
from keybed.store.format.layout import Layout, object_key
from keybed.store.format.recipe import FORMAT_VERSION, Recipe
from keybed.store.format.rows import Rows
from keybed.store.format.vocabulary import SPLITS, TIERS, Status

if TYPE_CHECKING:
    from keybed.store.disk.blosc_shards import DirectArray
    from keybed.store.read.batches import Batch


class Store:
    """An open store. Reading is thread-safe; nothing here writes.

    `committed` is asked of the disk every time, so a store can be watched while tasks fill it.
    """

    def __init__(self, path: Path, recipe: Recipe, about: Mapping[str, Any]) -> None:
        self.path = path
        self.recipe = recipe
        self.fingerprint = recipe.fingerprint
        self.specs: tuple[ArraySpec, ...] = array_specs(recipe)
        self.n_rows, self.shard_rows = recipe.n_rows, recipe.shard_rows
        self.n_shards = shards.count(self.n_rows, self.shard_rows)
        self.splits: dict[str, tuple[int, int]] = {name: (int(a), int(b)) for name, (a, b) in about["splits"].items()}
        self._layout = Layout(path)
        self._arrays: dict[str, Any] = {}
        self._direct: dict[str, DirectArray | None] = {}
        self._commits: dict[int, Commit] = {}
        self._seen: set[tuple[int, str]] = set()

    @cached_property
    def recordings(self) -> list[dict[str, Any]]:
        """The recordings' JSON entries, in the order of `row/recording`."""
        found: list[dict[str, Any]] = json.loads(self._layout.recordings.read_bytes())
        return found

    @property
    def machine_paths(self) -> dict[str, str]:
        """Where corpus, soundfont and weights were found on the machine that planned."""
        found: dict[str, str] = json.loads(self._layout.machine_paths.read_bytes())
        return found

    @property
    def committed(self) -> frozenset[int]:
        """Shards that are whole, as of now."""
        return committed(self._layout)

    @property
    def features(self) -> list[str]:
        """Paths of the arrays with one entry a row that hold features or their masks, `derived/…` included."""
        made = [spec.path for spec in self.specs if not spec.path.startswith("row/")]
        derived = self._layout.features / "derived"
        found = sorted(file.parent for file in derived.rglob("zarr.json")) if derived.is_dir() else []
        return made + [
            folder.relative_to(self._layout.features).as_posix()
            for folder in found
            if json.loads((folder / "zarr.json").read_bytes()).get("dimension_names", [None])[0] == "row"
        ]

    def notes_path(self, recording: int) -> Path:
        """File of one recording's notes, e.g. `notes/00017.npz`."""
        return self._layout.notes_of(recording)

    def shard_range(self, shard: int) -> tuple[int, int]:
        """Rows (start, stop) of a shard; IndexError where there is none."""
        return shards.shard_range(shard, self.shard_rows, self.n_rows)

    def commit(self, shard: int) -> Commit:
        """What the shard's commit says. Raises Incomplete where there is none, ShardDamaged where it is unreadable."""
        if shard not in self._commits:
            if not self._layout.commit_of(shard).exists():
                raise Incomplete(
                    f"shard {shard} of {self.path} is not committed: `keybed extract {self.path} --shards {shard}`"
                )
            self._commits[shard] = read_commit(self._layout, shard, self.fingerprint)
        return self._commits[shard]

    def forget(self, shard: int) -> None:
        """Drop what is remembered of a shard whose commit was taken back."""
        self._commits.pop(shard, None)
        self._seen = {(seen, path) for seen, path in self._seen if seen != shard}

    def columns(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """The plan-written columns of rows [start, stop), by their names without "row/"."""
        return {name: column[start:stop] for name, column in self._planned.items()}

    def array(self, path: str) -> Any:
        """The Zarr array at a path, read-only. Raises NoSuchFeature listing those that exist."""
        if path not in self._arrays:
            if not (self._layout.array(path) / "zarr.json").is_file():
                raise NoSuchFeature(f"{self.path} holds no {path!r}; it has {', '.join(self.features)}")
            from keybed.store.disk.blosc_shards import DirectArray
            from keybed.store.disk.zarr_arrays import open_for_reading

            if path.startswith("derived/"):
                from keybed.store.read.derived import check_fresh

                check_fresh(self, path)
            array = open_for_reading(self._layout.features, path)
            self._direct[path] = DirectArray.of(array, self._layout.array(path)) if array.shards else None
            self._arrays[path] = array
        return self._arrays[path]

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
        done = self.committed
        there = np.isin(index // self.shard_rows, list(done))
        if not there.all() and not allow_missing:
            missing = sorted(set((index[~there] // self.shard_rows).tolist()))
            raise Incomplete(
                f"{self.path}: {len(missing)} of {self.n_shards} shards are not committed: "
                f"`keybed status {self.path}` says why, `keybed extract {self.path} --shards {shards.as_ranges(missing)}` makes "
                "them; or ask for the rows that are there"
            )
        index = index[there]
        columns = {**self._planned, **self._made(done)}
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
        """Rows of one array in the order given, in the stored dtype; read in contiguous blocks of at most a shard.

        path may choose along named axes: `audio/mert/layers[state=7]` drops the axis, `[state=7:9]` keeps it.
        Raises NoSuchFeature, Incomplete, ShardDamaged.
        """
        feature = parse_feature(path)
        array = self.array(feature.path)
        index = np.asarray(index, dtype=np.int64)
        if index.ndim != 1 or (len(index) and not 0 <= index.min() <= index.max() < array.shape[0]):
            raise IndexError(f"{path}: row numbers must be one list within 0 … {array.shape[0] - 1}")
        out = self.empty_block(feature, len(index))
        order = np.argsort(index, kind="stable")
        for first, last in blocks(index[order], self.shard_rows):
            places = order[first:last]
            start, stop = int(index[places[0]]), int(index[places[-1]]) + 1
            if stop - start == last - first == len(index) and bool(np.all(np.diff(places) == 1)):
                self.read_block(feature, start, stop, out=out)
            else:
                block = self.read_block(feature, start, stop, out=self.empty_block(feature, stop - start))
                out[places] = block[index[places] - start]
        return self.drop_axes(feature, out)

    def empty_block(self, feature: Feature, n_rows: int) -> np.ndarray:
        """Room for n_rows of a feature, all axes kept."""
        array = self.array(feature.path)
        inner, _ = feature.selection(array.metadata.dimension_names, array.shape)
        return np.empty((n_rows, *(part.stop - part.start for part in inner)), dtype=array.dtype)

    def drop_axes(self, feature: Feature, block: np.ndarray) -> np.ndarray:
        """The same numbers without the axes of which one place was asked for."""
        array = self.array(feature.path)
        _, drop = feature.selection(array.metadata.dimension_names, array.shape)
        return block.reshape([n for axis, n in enumerate(block.shape) if axis not in drop])

    def read_block(self, feature: Feature, start: int, stop: int, *, out: np.ndarray) -> np.ndarray:
        """Rows [start, stop) into `out`, all axes kept, after a look at whether the files are what was committed."""
        from keybed.store.disk.zarr_arrays import read_into

        array, direct = self.array(feature.path), self._direct[feature.path]
        inner, _ = feature.selection(array.metadata.dimension_names, array.shape)
        for shard in shards.shards_of_range(start, stop, self.shard_rows):
            self._trust(feature.path, shard, len(array.shape))
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
            advice = f"`keybed verify {self.path} --repair` takes it away, `keybed derive {self.path}` makes it again"
        else:
            advice = f"`keybed verify {self.path} --repair` says which shards to extract again"
        return ShardDamaged(f"{self.path}: rows {start}–{stop - 1} of {path} cannot be decoded ({error}); {advice}")

    def batches(
        self,
        features: Sequence[str],
        rows: Rows,
        batch_rows: int,
        *,
        seed: int | None,
        epoch: int = 0,
        drop_last: bool = False,
        buffer_rows: int | None = None,
    ) -> Iterator[Batch]:
        """Batches for training; see `keybed.store.read.batches.batches`."""
        from keybed.store.read.batches import BUFFER_ROWS, batches

        return batches(
            self,
            features,
            rows,
            batch_rows,
            seed=seed,
            epoch=epoch,
            drop_last=drop_last,
            buffer_rows=BUFFER_ROWS if buffer_rows is None else buffer_rows,
        )

    @cached_property
    def _planned(self) -> dict[str, np.ndarray]:
        columns = {}
        for path in (spec.path for spec in self.specs if spec.writer == "plan"):
            try:
                columns[path.removeprefix("row/")] = self.array(path)[...]
            except (RuntimeError, ValueError, OSError) as error:
                raise ShardDamaged(
                    f"{self.path}: {path}, which the plan wrote, cannot be decoded ({error}): copy the store again from a "
                    f"good copy; `keybed verify {self.path}` lists all that is damaged"
                ) from error
        return columns

    def _made(self, done: frozenset[int]) -> dict[str, np.ndarray]:
        """The task-written columns, read again only when more shards have been committed."""
        if getattr(self, "_made_of", None) != done:
            paths = [s.path for s in self.specs if s.writer == "task" and s.path.startswith("row/")]
            self._made_columns = {path.removeprefix("row/"): self._committed_rows(path, done) for path in paths}
            self._made_of = done
        return self._made_columns

    def _committed_rows(self, path: str, done: frozenset[int]) -> np.ndarray:
        """A whole column, of which only what is committed is read from the disk; the rest holds the fill value."""
        array, feature = self.array(path), Feature(path)
        column = np.full(array.shape, array.fill_value, array.dtype)
        for run in shards.runs(done):
            start, stop = self.shard_range(run.start)[0], self.shard_range(run.stop - 1)[1]
            self.read_block(feature, start, stop, out=column[start:stop])
        return column

    def _row_numbers(self, splits: Sequence[str]) -> NDArray[np.int64]:
        return np.concatenate([np.arange(*self.splits[name], dtype=np.int64) for name in splits])

    def _trust(self, path: str, shard: int, rank: int) -> None:
        """One look a shard and array: the file exists and is as long as its commit says."""
        if (shard, path) in self._seen or (
            path.startswith("row/") and path.removeprefix("row/") in self._planned_names
        ):
            return
        key = f"{path}/{object_key(shard, rank)}"
        file = self._layout.features / key
        if path.startswith("derived/"):
            if not file.is_file():
                raise ShardDamaged(f"{file} is missing: `keybed derive {self.path}` makes it again")
            self._seen.add((shard, path))
            return
        stored = self.commit(shard).objects.get(key)
        length = file.stat().st_size if file.is_file() else None
        if stored is None or length != stored.bytes:
            found = "missing" if length is None else f"{length} bytes long"
            raise ShardDamaged(
                f"{file} is {found}, its commit says {stored.bytes if stored else 'nothing of it'}: run "
                f"`keybed verify {self.path} --repair`, then `keybed extract {self.path} --shards {shard}`"
            )
        self._seen.add((shard, path))

    @cached_property
    def _planned_names(self) -> frozenset[str]:
        return frozenset(s.path.removeprefix("row/") for s in self.specs if s.writer == "plan")


def open_store(path: str | Path, *, even_if_damaged: bool = False) -> Store:
    """Open a store for reading. Raises NotAStore (foreign, or copied half-way) and NewerFormat.

    even_if_damaged leaves out the look at whether every file is there, for those who are about to mend it.
    """
    path = Path(path).absolute()
    layout = Layout(path)
    try:
        plain = json.loads(layout.recipe.read_bytes())
        about = json.loads((layout.features / "zarr.json").read_bytes())["attributes"]["keybed"]
    except (FileNotFoundError, NotADirectoryError) as error:
        half = (
            "only part of one (copied half-way?)" if layout.features.exists() or layout.recipe.exists() else "no store"
        )
        raise NotAStore(
            f"{path} is {half}: {Path(str(error.filename)).name} is missing; `keybed plan` makes a store"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise NotAStore(
            f"{path}: recipe.json or features.zarr/zarr.json cannot be read ({error}); copy the store again"
        ) from error
    _check_format(path, plain, about)
    try:
        recipe = Recipe.from_json(plain["recipe"])
    except (ValueError, KeyError, TypeError) as error:
        raise NotAStore(f"{path}/recipe.json is not a recipe of format {FORMAT_VERSION}: {error}") from error
    if not recipe.fingerprint == plain["fingerprint"] == about["fingerprint"]:
        raise NotAStore(
            f"{path}: recipe.json and features.zarr belong to different stores, or one was edited "
            f"(fingerprints {recipe.fingerprint[:12]}, {plain['fingerprint'][:12]}, {about['fingerprint'][:12]})"
        )
    store = Store(path, recipe, about)
    if not even_if_damaged:
        missing = missing_files(layout, store.specs, store.committed if layout.commits.is_dir() else frozenset())
        if missing:
            raise NotAStore(
                f"{path} is incomplete, as if copied half-way: {len(missing)} files are missing, the first is "
                f"{missing[0]}. Copy it again, or run `keybed verify {path} --repair` to make the lost shards anew"
            )
    return store


def _check_format(path: Path, plain: Any, about: Any) -> None:
    found = max(int(about["format_version"]), int(plain["recipe"]["format_version"]))
    if found > FORMAT_VERSION:
        raise NewerFormat(f"{path} has format {found}, this Keybed reads up to {FORMAT_VERSION}: update Keybed")


def _names(wanted: str | Sequence[str] | None, known: tuple[str, ...], what: str) -> tuple[str, ...]:
    if wanted is None:
        return known
    given = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"{what} {', '.join(unknown)}: there are {', '.join(known)}")
    return tuple(name for name in known if name in given)


def blocks(ascending: NDArray[np.int64], shard_rows: int, gap_rows: int = 64) -> Iterator[tuple[int, int]]:
    """Cut ascending row numbers into runs that stay in one shard and have no gap wider than gap_rows."""
    if not len(ascending):
        return
    cut = np.flatnonzero((np.diff(ascending) > gap_rows) | (np.diff(ascending // shard_rows) > 0)) + 1
    edges = [0, *cut.tolist(), len(ascending)]
    yield from pairwise(edges)
