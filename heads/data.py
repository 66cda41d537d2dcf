"""Batches for training: the `Data` protocol, data in memory, reading ahead, and data that stay on the device."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from keybed.heads.inputs import MODALITIES, HeadInput, pad_rows, take_rows

T = TypeVar("T")

FEATURES = tuple(name for name in HeadInput._fields if name.startswith(MODALITIES))
"""The fields of `HeadInput` that hold features and their masks."""


class Data(Protocol):
    """The source of `fit`'s batches. Iterators may stream; an epoch's order depends on the epoch alone.

    A batch keeps the rows of one segment side by side where it can: the ranking loss compares neighbouring rows.
    """

    @property
    def n_train_rows(self) -> int:
        """Number of rows of one training epoch."""
        ...

    @property
    def seed(self) -> int:
        """Seed of the epochs' order."""
        ...

    def train(self, epoch: int) -> Iterator[HeadInput]:
        """All training rows once, in this epoch's order."""
        ...

    def validation(self) -> Iterator[HeadInput]:
        """All validation rows once, in row order."""
        ...


@dataclass(frozen=True)
class ArrayData:
    """Data in memory. Each epoch shuffles segments; the rows of a segment stay together."""

    train_rows: HeadInput
    validation_rows: HeadInput
    batch_rows: int
    seed: int = 0

    @property
    def n_train_rows(self) -> int:
        """Number of rows of one training epoch."""
        return self.train_rows.n_rows

    def train(self, epoch: int) -> Iterator[HeadInput]:
        """All training rows once; the same epoch always has the same order."""
        order = segment_order(np.asarray(self.train_rows.segment_B), np.random.default_rng([self.seed, epoch]))
        return self._batches(self.train_rows, order)

    def validation(self) -> Iterator[HeadInput]:
        """All validation rows once, in order."""
        return self._batches(self.validation_rows, np.arange(self.validation_rows.n_rows))

    def _batches(self, rows: HeadInput, order: NDArray[np.int64]) -> Iterator[HeadInput]:
        for start in range(0, len(order), self.batch_rows):
            yield take_rows(rows, order[start : start + self.batch_rows])


def segment_order(segment: NDArray, rng: np.random.Generator) -> NDArray[np.int64]:
    """A permutation of rows that shuffles segments and keeps the rows of each segment together, in order."""
    _, member = np.unique(segment, return_inverse=True)
    position = rng.permutation(member.max() + 1 if len(member) else 0)
    return np.argsort(position[member], kind="stable").astype(np.int64)


def read_ahead(items: Iterable[T], depth: int) -> Iterator[T]:
    """Yield the items in order; a thread reads up to `depth` items ahead. An exception of the thread is raised here."""
    if depth < 1:
        yield from items
        return
    waiting: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(maxsize=depth)
    abandoned = threading.Event()

    def put(kind: str, item: T | BaseException | None) -> None:
        while not abandoned.is_set():
            try:
                return waiting.put((kind, item), timeout=0.1)
            except queue.Full:
                continue

    def read() -> None:
        try:
            for item in items:
                put("item", item)
                if abandoned.is_set():
                    return
        except BaseException as error:  # the consumer raises it
            put("error", error)
            return
        put("end", None)

    reader = threading.Thread(target=read, name="read-ahead", daemon=True)
    reader.start()
    try:
        while True:
            kind, item = waiting.get()
            if kind == "end":
                return
            if isinstance(item, BaseException):
                raise item
            yield item  # type: ignore[misc]
    finally:
        abandoned.set()
        reader.join()


@dataclass(frozen=True)
class Resident:
    """The whole training split on the device, in reading order.

    row, segment: row number and segment of each row. order: the permutation that sorts the rows by row number. seed: seed
    of the epochs' order.
    """

    rows: HeadInput
    row: NDArray[np.int32]
    segment: NDArray[np.int32]
    order: NDArray[np.int64]
    batch_rows: int
    seed: int

    @staticmethod
    def load(data: Data, config: Any, scannable: bool) -> Resident | None:
        """Read the training split onto the device; None where it is larger than config.resident_bytes, or not scannable.

        Batches go to the device one by one, so the host holds only a few of them. scannable: batches need no work on the host.
        """
        if not scannable:
            return None
        limit = _resident_limit() if config.resident_bytes is None else config.resident_bytes
        sample = next(iter(data.train(0)))
        row_bytes = sum(np.asarray(a[:1]).nbytes for a in jax.tree.leaves(sample))
        if row_bytes * data.n_train_rows > limit:
            return None
        n_buffer = _rounded(data.n_train_rows + config.batch_rows)
        buffer = jax.tree.map(lambda a: jnp.zeros((n_buffer, *a.shape[1:]), a.dtype), sample)
        row, segment, start = [], [], 0
        for batch in read_ahead(data.train(0), config.read_ahead):
            real = np.asarray(batch.row_B) >= 0
            if not real.any():
                continue
            kept = batch if real.all() else take_rows(batch, real)
            buffer = _put(buffer, pad_rows(kept, config.batch_rows), np.int32(start))
            row.append(np.asarray(kept.row_B))
            segment.append(np.asarray(kept.segment_B))
            start += kept.n_rows
        rows = np.concatenate(row)
        order = np.argsort(rows, kind="stable")
        return Resident(buffer, rows, np.concatenate(segment), order, config.batch_rows, data.seed)

    def epoch(self, number: int) -> NDArray[np.int32]:
        """int32 index_NxB of this epoch's batches, −1 where padded. Segments are shuffled, their rows stay together.

        `ArrayData` over the same rows gives the same order.
        """
        shuffled = segment_order(self.segment[self.order], np.random.default_rng([self.seed, number]))
        index = np.full(-(-len(shuffled) // self.batch_rows) * self.batch_rows, -1, np.int32)
        index[: len(shuffled)] = self.order[shuffled]
        return index.reshape(-1, self.batch_rows)


@partial(jax.jit, donate_argnums=0)
def _put(buffer: HeadInput, batch: HeadInput, start: Any) -> HeadInput:
    """Write the batch's rows into the buffer from `start` on, in place."""
    return jax.tree.map(lambda a, part: jax.lax.dynamic_update_slice_in_dim(a, part, start, 0), buffer, batch)


@dataclass(frozen=True)
class ValidationOnDevice:
    """Data whose validation features were read once and stay on the device; labels and row numbers stay on the host."""

    data: Data
    batches: tuple[HeadInput, ...]

    @property
    def n_train_rows(self) -> int:
        """Number of rows of one training epoch."""
        return self.data.n_train_rows

    @property
    def seed(self) -> int:
        """Seed of the epochs' order."""
        return self.data.seed

    def train(self, epoch: int) -> Iterator[HeadInput]:
        """All training rows once, in this epoch's order."""
        return self.data.train(epoch)

    def validation(self) -> Iterator[HeadInput]:
        """All validation rows once, in row order, padded."""
        return iter(self.batches)

    @staticmethod
    def load(data: Data, config: Any, resident: Resident | None) -> Data:
        """Read the validation split beside the training split; the data as they are where it does not fit or nothing is
        resident."""
        if resident is None:
            return data
        limit = _resident_limit() if config.resident_bytes is None else config.resident_bytes
        used = sum(leaf.nbytes for leaf in jax.tree.leaves(resident.rows))
        batches = []
        for batch in read_ahead(data.validation(), config.read_ahead):
            padded = pad_rows(batch, max(batch.n_rows, config.batch_rows))
            features = {name: getattr(padded, name) for name in FEATURES if getattr(padded, name) is not None}
            used += sum(np.asarray(array).nbytes for array in features.values())
            if used > limit:
                return data
            batches.append(padded._replace(**jax.device_put(features)))
        return ValidationOnDevice(data, tuple(batches))


def _rounded(n_rows: int) -> int:
    """Round up to a multiple of 1/16 of the next power of two, so that folds of nearly equal size share one compiled scan."""
    step = max(1, (1 << max(n_rows - 1, 1).bit_length()) // 16)
    return -(-n_rows // step) * step


def _resident_limit() -> int:
    """Default limit in bytes of data on the device: 60 % of a GPU's memory, 1 GB on a CPU."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        return 10**9
    return int(0.6 * (device.memory_stats() or {}).get("bytes_limit", 0))
