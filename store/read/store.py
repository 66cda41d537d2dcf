"""`Store`, the public face of reading: select rows, read features, stream training batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keybed.store.command import command
from keybed.store.counted import counted
from keybed.store.disk.commits import Commit
from keybed.store.disk.json_files import read_json
from keybed.store.disk.machine_paths import read_machine_paths
from keybed.store.disk.planned_files import PlannedFiles, way_out
from keybed.store.errors import Incomplete, NoSuchFeature, ShardDamaged
from keybed.store.format import shards
from keybed.store.format.layer import Layer, without
from keybed.store.format.layout import Layout
from keybed.store.format.recipe import Recipe, fingerprint
from keybed.store.format.rows import Rows
from keybed.store.format.soundfonts import held_out_soundfont
from keybed.store.format.vocabulary import SPLITS, TIERS, Status
from keybed.store.read import derived, summary
from keybed.store.read.batches import BUFFER_ROWS, Batch, batches
from keybed.store.read.columns import RowColumns
from keybed.store.read.committed import CommittedShards
from keybed.store.read.derived import Moments
from keybed.store.read.reader import Reader


class Store:
    """An open store. Reading is thread-safe; nothing here writes.

    path: its folder. planned_recipe: everything that shapes a number in it, as it was planned; fingerprint: sha256 of it.
    recipe: the same with the encoders that the store has now, after `keybed extend` and `keybed drop`. specs: its arrays.
    splits: split → rows (start, stop). `committed` is read from the disk at every call, so that a store can be
    watched while tasks fill it. planned_files: checksums of what `keybed plan` and `extend` wrote. layers: the added
    encoders by name. unreadable_layers: added encoders whose record is damaged, and what is wrong; `verify` alone opens
    such a store. url: where a published store lies, None for a store on this machine; `path` is then the folder with the files
    fetched so far.
    """

    def __init__(
        self,
        path: Path,
        recipe: Recipe,
        splits: Mapping[str, tuple[int, int]],
        planned_files: PlannedFiles,
        layers: Mapping[str, Layer] = MappingProxyType({}),
        dropped: frozenset[str] = frozenset(),
        unreadable_layers: Mapping[str, str] = MappingProxyType({}),
        url: str | None = None,
    ) -> None:
        self.path = path
        self.url = url
        self.planned_recipe = recipe
        self.layers, self.dropped, self.unreadable_layers = dict(layers), dropped, dict(unreadable_layers)
        added = (layer.encoder for layer in layers.values())
        self.recipe = replace(recipe, encoders=(*without(recipe, dropped), *added))
        self.planned_files = planned_files
        self.reader = Reader(Layout(path), recipe, planned_files, layers, dropped)
        self.fingerprint = recipe.fingerprint
        self.specs = self.reader.specs
        self.n_rows, self.shard_rows = recipe.n_rows, recipe.shard_rows
        self.n_shards = self.reader.shards.n_shards
        self.splits: dict[str, tuple[int, int]] = dict(splits)
        self._layout = self.reader.layout
        self._columns = RowColumns(self.reader)

    def __repr__(self) -> str:
        return summary.in_a_line(self.url or self.path, self.recipe, self.reader)

    def _repr_html_(self) -> str:
        return summary.as_html(self.url or self.path, self.recipe, self.reader, self.splits)

    @cached_property
    def recordings(self) -> list[dict[str, Any]]:
        """The recordings' JSON entries, in the order of `row/recording`."""
        self.planned_files.check("recordings.json")
        try:
            entries = read_json(self._layout.recordings)
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise ValueError("it is no list of recordings")
        except (OSError, ValueError) as error:
            raise ShardDamaged(
                f"{self._layout.recordings} cannot be read ({error}): {way_out(self._layout)}"
            ) from error
        return entries

    @property
    def machine_paths(self) -> dict[str, str]:
        """Paths of corpus, soundfont and weights on the machine that planned the store; not part of the recipe."""
        file = self._layout.machine_paths
        try:
            paths = read_machine_paths(file)
        except (OSError, ValueError) as error:
            raise ShardDamaged(
                f"{file} cannot be read ({error}): `{command('verify', self.path, '--repair')}` makes it empty; "
                "then say where things lie, for example with --soundfont FILE"
            ) from error
        return paths

    @property
    def committed(self) -> frozenset[int]:
        """Shards that have a commit now: their rows, and the encoders planned with them, are whole and may be read."""
        return self.reader.shards.numbers

    def shards_of_layer(self, layer: str | None) -> CommittedShards:
        """The shards of one added layer; None: of the rows and the encoders planned with them. Raises NoSuchFeature."""
        if layer is None:
            return self.reader.shards
        if layer not in self.reader.added:
            raise NoSuchFeature(
                f"{self.path} has no added encoder {layer!r}; it has {', '.join(self.layers) or 'none'}"
            )
        return self.reader.added[layer]

    @property
    def parts(self) -> tuple[str | None, ...]:
        """What is committed on its own: None for the rows with the encoders planned with them, then every added layer."""
        return (None, *self.layers)

    def part_of(self, encoder: str) -> str | None:
        """The part to which an encoder belongs. Raises NoSuchFeature where the store has no such encoder."""
        names = [spec.name for spec in self.recipe.encoders]
        if encoder not in names:
            raise NoSuchFeature(f"{self.path} has no encoder {encoder!r}; it has {', '.join(names)}")
        return encoder if encoder in self.layers else None

    def fingerprint_of(self, encoders: Iterable[str]) -> str:
        """Fingerprint of the rows and these encoders' features: that of the store where all were planned together."""
        added = sorted(name for name in set(encoders) if name in self.layers)
        if not added:
            return self.fingerprint
        return fingerprint([self.fingerprint, [self.layers[name].fingerprint for name in added]])

    @property
    def features(self) -> list[str]:
        """Paths of the arrays with one entry per row that hold features or their masks, `derived/…` included."""
        return self.reader.features

    def notes_path(self, recording: int) -> Path:
        """File of one recording's notes, e.g. `notes/00017.npz`, after a check that it is the one that was planned.

        Raises ShardDamaged.
        """
        file = self._layout.notes_of(recording)
        self.planned_files.check(file.relative_to(self.path).as_posix())
        return file

    def inputs(self, shard: int) -> str | None:
        """Fingerprint of the planned files that a shard is made from; see `PlannedFiles.inputs`."""
        recordings = self.columns(*self.shard_range(shard))["recording"]
        return self.planned_files.inputs(self.reader.shards.specs, recordings.tolist())

    def shard_range(self, shard: int) -> tuple[int, int]:
        """Rows (start, stop) of a shard. Raises IndexError for a shard that does not exist."""
        return self.reader.shards.rows_of(shard)

    def commit(self, shard: int, layer: str | None = None) -> Commit:
        """The commit of one shard, or of an added layer's shard. Raises Incomplete where there is none, ShardDamaged."""
        return self.shards_of_layer(layer).commit(shard)

    def forget(self, shard: int, layer: str | None = None) -> None:
        """Drop what is kept in memory of a shard whose commit was removed."""
        self.shards_of_layer(layer).forget(shard)

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
            if self.url is not None:
                raise Incomplete(
                    f"{self.url}: {len(missing)} of {counted(self.n_shards, 'shard')} not published: publish the store again "
                    "when it is whole; allow_missing=True selects the committed rows only"
                )
            raise Incomplete(
                f"{self.path}: {len(missing)} of {counted(self.n_shards, 'shard')} not committed: "
                f"`{command('status', self.path)}` says why, "
                f"`{command('extract', self.path, '--shards', shards.as_ranges(missing))}` makes them; "
                "allow_missing=True selects the committed rows only"
            )
        index = index[available]
        columns = {**self._columns.planned, **self._columns.task_written(committed)}
        soundfont = columns.setdefault("soundfont", np.zeros(self.n_rows, np.uint8))
        held_out = held_out_soundfont(self.recipe.audio)
        columns["held_out"] = np.zeros(self.n_rows, bool) if held_out is None else soundfont == held_out
        keep = np.ones(len(index), bool)
        if tiers is not None:
            wanted = [TIERS.index(name) for name in _names(tiers, TIERS, "tier")]
            keep &= np.isin(columns["tier"][index], wanted)
        if segments is not None:
            keep &= np.isin(columns["segment"][index], np.asarray(segments))
        if status == "ok":
            keep &= columns["status"][index] == Status.OK
        index = index[keep]
        kept = {f.name for f in fields(Rows)}
        return Rows(index=index, **{name: column[index] for name, column in columns.items() if name in kept})

    def read(self, path: str, index: ArrayLike) -> np.ndarray:
        """Rows of one array in the order of `index`, in the stored dtype; read in contiguous blocks of at most a shard.

        path may select along named axes: `audio/mert/layers[state=7]` drops the axis, `[state=7:9]` keeps it.
        Raises NoSuchFeature, Incomplete, ShardDamaged, StaleDerived.
        """
        return self.reader.read(path, index)

    def to_xarray(self) -> Any:
        """The store as an xarray DataTree with the paths of `read`: `tree["audio/logmel/frames"]`, `tree["row/score"]`.

        Features are dask arrays, read and compared with their commits when they are computed. Coordinates: the row's
        number, tier, split, status, piece and start; names along `dimension`, `axis`, `stat`, `channel`; `time_s` of
        each bin. Numbers that stand for words have CF's flag_values and flag_meanings. Rows that are not made yet have
        status 255, fill values in all columns that tasks write, and NaN features. Derived views are left out.
        Raises NotInstalled where xarray is absent, and on computing what `read` raises.
        """
        from keybed.store.read.to_xarray import to_xarray

        columns = {**self._columns.planned, **self._columns.task_written(self.committed)}
        return to_xarray(self.reader, self.recipe, columns)

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


def _names(wanted: str | Sequence[str] | None, known: tuple[str, ...], what: str) -> tuple[str, ...]:
    if wanted is None:
        return known
    given = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"{what} {', '.join(unknown)}: there are {', '.join(known)}")
    return tuple(name for name in known if name in given)
