"""From a store's arrays to the batches that heads eat: which arrays, which rows, which weights.

A `View` names the arrays. `Features` holds them in memory where they fit and streams them from the store where they do
not; both give the same batches. Standardisation happens inside the heads' training, from the training rows alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.durations import durations
from keybed.heads.data import segment_order
from keybed.heads.inputs import HeadInput, from_arrays, pad_rows, tier_weights
from keybed.store.errors import NoSuchFeature
from keybed.store.format.rows import Rows
from keybed.store.format.vocabulary import TIER_SHARES
from keybed.store.read.store import Store

Positions = NDArray[np.int64]
_STREAM_ROWS = 2048


@dataclass(frozen=True)
class View:
    """Two encoders of one store and the kind of features taken from them.

    frames: the common time grid. layers: mean and sd over time of every state. pca128 (or any other number) and int8:
    what `keybed derive` made of the frames. pooled: what it made of the layers, one vector a row.
    """

    audio: str
    midi: str
    kind: str = "frames"

    def __post_init__(self) -> None:
        if self.kind not in ("frames", "layers", "int8", "pooled") and not re.fullmatch(r"pca\d+", self.kind):
            raise NoSuchFeature(
                f"no view {self.kind!r}; there are frames, layers, pooled, int8 and pca128 (or another number)"
            )

    def paths(self, store: Store) -> dict[str, str]:
        """Argument of `keybed.heads.inputs.from_arrays` -> array path.

        Raises NoSuchFeature for a view that was not derived, StaleDerived for one made from other data.
        """
        found: dict[str, str] = {}
        for modality, name in (("audio", self.audio), ("midi", self.midi)):
            spec = store.recipe.encoder(name)
            if spec.modality != modality:
                raise NoSuchFeature(f"encoder {name!r} listens to {spec.modality}, not to {modality}")
            if self.kind == "layers":
                found[f"{modality}_layers"] = f"{spec.group}/layers"
                continue
            if self.kind == "pooled":
                found[f"{modality}_pooled"] = self._derived(store, name, "layers_pooled")
                continue
            found[f"{modality}_frames"] = (
                f"{spec.group}/frames" if self.kind == "frames" else self._derived(store, name, f"frames_{self.kind}")
            )
            if spec.has_mask:
                found[f"{modality}_mask"] = f"{spec.group}/mask"
        return found

    def _derived(self, store: Store, name: str, view: str) -> str:
        """Path of a derived view; PCA of an encoder with fewer channels than components asked for has all of them."""
        wanted = f"derived/{name}/{view}"
        if wanted not in store.features and self.kind.startswith("pca"):
            few = re.compile(re.escape(f"derived/{name}/frames_pca") + r"(\d+)")
            sizes = [int(m[1]) for m in map(few.fullmatch, store.features) if m and int(m[1]) < int(self.kind[3:])]
            spec = store.recipe.encoder(name)
            everything = spec.width * len(spec.frame_stats)
            if everything in sizes:
                wanted = f"derived/{name}/frames_pca{everything}"
        if wanted not in store.features:
            raise NoSuchFeature(f"{store.path} holds no {wanted}; make it with `keybed derive {store.path}`")
        store.check_fresh(wanted)
        return wanted

    @property
    def inputs(self) -> str:
        """What a head of this view is given: HeadConfig.inputs."""
        return "layers" if self.kind in ("layers", "pooled") else "frames"


def pair_of(store: Store, audio: str | None, midi: str | None) -> tuple[str, str]:
    """The pair of encoders to judge: what was asked for, else the first with trained weights, else the baselines.

    Without a wish, encoders that need no weights are baselines and stand back behind real weights, but before random ones.
    """

    def choose(modality: str, wish: str | None) -> str:
        specs = [e for e in store.recipe.encoders if e.modality == modality]
        if wish is not None:
            if wish not in [e.name for e in specs]:
                raise NoSuchFeature(
                    f"{store.path} holds no {modality} encoder {wish!r}; it has {', '.join(e.name for e in specs) or 'none'}"
                )
            return wish
        if not specs:
            raise NoSuchFeature(f"{store.path} holds no {modality} encoder")
        rank = {"random": 2, "none": 1}
        return min(specs, key=lambda e: rank.get(e.source, 0)).name

    return choose("audio", audio), choose("midi", midi)


class Features:
    """The arrays of one view for one selection of rows; positions are places in `rows`, not store indices."""

    def __init__(self, store: Store, view: View, rows: Rows, *, memory_gib: float = 4.0) -> None:
        self.store, self.view, self.rows = store, view, rows
        self.paths = view.paths(store)
        self.weight = tier_weights(rows.tier, TIER_SHARES)
        n_bytes = sum(
            len(rows) * int(np.prod(store.array(p).shape[1:])) * store.array(p).dtype.itemsize
            for p in self.paths.values()
        )
        self._held: dict[str, np.ndarray] | None = None
        if n_bytes <= memory_gib * 2**30:
            self._held = {path: self._read(path, rows.index) for path in self.paths.values()}

    @property
    def in_memory(self) -> bool:
        """Whether the arrays lie in memory."""
        return self._held is not None

    @cached_property
    def durations(self) -> NDArray[np.float64]:
        """How long each row sounds and its notes are held, (row, 2); see `keybed.experiments.data.durations`."""
        return durations(self.store, self.rows)

    def array(self, name: str, positions: Positions) -> np.ndarray:
        """One argument's array, e.g. "audio_frames", at these positions."""
        path = self.paths[name]
        return self._read(path, self.rows.index[positions]) if self._held is None else self._held[path][positions]

    def _read(self, path: str, index: NDArray[np.int64]) -> np.ndarray:
        values = self.store.read(path, index)
        return self.store.from_int8(path, values).astype(np.float16) if values.dtype == np.int8 else values

    def replaced(self, audio_frames: np.ndarray, midi_frames: np.ndarray) -> Features:
        """The same rows with other frames (row, bin, width), e.g. aligned ones, held in memory; masks stay."""
        other = copy(self)
        arrays = {"audio_frames": audio_frames, "midi_frames": midi_frames}
        masks = {name: self.array(name, np.arange(len(self.rows))) for name in self.paths if name.endswith("_mask")}
        other.paths = {name: name for name in (*arrays, *masks)}
        other._held = {**arrays, **masks}
        return other

    def batch(
        self, positions: Positions, *, audio_from: Positions | None = None, midi_from: Positions | None = None
    ) -> HeadInput:
        """Rows at these positions; a modality's features may come from other rows (the modality swap)."""
        at = {
            "audio": positions if audio_from is None else audio_from,
            "midi": positions if midi_from is None else midi_from,
        }
        arrays = {name: self.array(name, at[name.split("_", maxsplit=1)[0]]) for name in self.paths}
        rows = self.rows
        return from_arrays(
            **arrays,
            score=rows.score[positions],
            valid=rows.valid[positions],
            segment=rows.segment[positions],
            row=rows.index[positions],
            weight=self.weight[positions],
            recording=rows.recording[positions],
            start_s=rows.start_s[positions],
        )

    def batches(
        self,
        positions: Positions,
        batch_rows: int,
        *,
        audio_from: Positions | None = None,
        midi_from: Positions | None = None,
    ) -> Iterator[HeadInput]:
        """All of these positions in their order."""
        for start in range(0, len(positions), batch_rows):
            part = slice(start, start + batch_rows)
            yield self.batch(
                positions[part],
                audio_from=None if audio_from is None else audio_from[part],
                midi_from=None if midi_from is None else midi_from[part],
            )

    def order(self, positions: Positions, rng: np.random.Generator) -> Positions:
        """A shuffle that keeps a segment's variants together; where rows are streamed, also a few shards at a time."""
        if self.in_memory:
            return positions[segment_order(self.rows.segment[positions], rng)]
        shard = self.rows.index[positions] // self.store.shard_rows
        parts, waiting, n_waiting = [], [], 0
        for number in rng.permutation(np.unique(shard)):
            waiting.append(positions[shard == number])
            n_waiting += len(waiting[-1])
            if n_waiting >= _STREAM_ROWS:
                parts.append(np.concatenate(waiting))
                waiting, n_waiting = [], 0
        if waiting:
            parts.append(np.concatenate(waiting))
        return np.concatenate([part[segment_order(self.rows.segment[part], rng)] for part in parts])


@dataclass(frozen=True, eq=False)
class FoldData:
    """`keybed.heads.data.Data` over two sets of positions.

    n_train_rows: rows of one epoch; beyond the training positions they are empty rows of weight 0, so that folds of
    nearly equal size have one shape and are compiled once.
    """

    features: Features
    train_positions: Positions
    validation_positions: Positions
    batch_rows: int
    n_train_rows: int
    seed: int = 0

    def train(self, epoch: int) -> Iterator[HeadInput]:
        """All training rows once, in this epoch's order."""
        order = self.features.order(self.train_positions, np.random.default_rng([self.seed, epoch]))
        if self.features.in_memory:
            batches = self.features.batches(order, self.batch_rows)
        else:
            batches = _from_buffers(self.features, order, self.batch_rows)
        return _filled(batches, self.n_train_rows, self.batch_rows)

    def validation(self) -> Iterator[HeadInput]:
        """All validation rows once, in row order."""
        return self.features.batches(self.validation_positions, self.batch_rows)


def _from_buffers(features: Features, order: Positions, batch_rows: int) -> Iterator[HeadInput]:
    """Read a buffer of whole shards at once, then cut it into batches: one contiguous read instead of many small ones."""
    step = max(batch_rows, _STREAM_ROWS // batch_rows * batch_rows)
    for start in range(0, len(order), step):
        part = order[start : start + step]
        buffer = features.batch(part)
        for first in range(0, len(part), batch_rows):
            yield HeadInput(*(None if a is None else a[first : first + batch_rows] for a in buffer))


def _filled(batches: Iterator[HeadInput], n_rows: int, batch_rows: int) -> Iterator[HeadInput]:
    """The batches, then empty rows until there are n_rows."""
    seen, last = 0, None
    for batch in batches:
        seen += batch.n_rows
        if batch.n_rows < batch_rows and seen < n_rows:
            batch, seen = _more(batch, min(batch_rows - batch.n_rows, n_rows - seen), seen)
        last = batch
        yield batch
    while last is not None and seen < n_rows:
        empty = HeadInput(*(None if a is None else a[:0] for a in last))
        batch, seen = _more(empty, min(batch_rows, n_rows - seen), seen)
        yield batch


def _more(batch: HeadInput, n_rows: int, seen: int) -> tuple[HeadInput, int]:
    return pad_rows(batch, batch.n_rows + n_rows), seen + n_rows


def other_variant(rows: Rows, positions: Positions) -> Positions:
    """For each position another variant of the same segment among `positions` (the next tier round the circle).

    A row whose segment has no other usable variant stands for itself.
    """
    order = np.lexsort((rows.tier[positions], rows.segment[positions]))
    segment = rows.segment[positions][order]
    first = np.searchsorted(segment, segment)
    last = np.searchsorted(segment, segment, side="right") - 1
    here = np.arange(len(order))
    following = np.where(here < last, here + 1, first)
    other = np.empty_like(positions)
    other[order] = positions[order[following]]
    return other


def batch_rows_for(n_train_rows: int) -> int:
    """Rows of a batch: a power of two from 16 to 256 that gives about 60 steps an epoch where there are enough rows."""
    rows = 16
    while rows < 256 and n_train_rows // (2 * rows) >= 60:
        rows *= 2
    return rows
