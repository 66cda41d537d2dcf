"""Batches on their way to the device: in-memory data, fixed shapes, reading ahead."""

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

from keybed.heads.inputs import HeadInput, pad_rows, take_rows

T = TypeVar("T")


class Data(Protocol):
    """Where `fit` gets its batches. Iterators may stream; each epoch's order depends on the epoch alone.

    A batch keeps the rows of one segment next to each other as far as it can: the ranking loss compares neighbours.
    """

    @property
    def n_train_rows(self) -> int:
        """Rows of one training epoch."""
        ...

    @property
    def seed(self) -> int:
        """What epochs are shuffled by."""
        ...

    def train(self, epoch: int) -> Iterator[HeadInput]:
        """All training rows once, in this epoch's order."""
        ...

    def validation(self) -> Iterator[HeadInput]:
        """All validation rows once, in row order."""
        ...


@dataclass(frozen=True)
class ArrayData:
    """Data that lies in memory whole. Each epoch shuffles segments; a segment's rows stay together."""

    train_rows: HeadInput
    validation_rows: HeadInput
    batch_rows: int
    seed: int = 0

    @property
    def n_train_rows(self) -> int:
        """Rows of one training epoch."""
        return self.train_rows.n_rows

    def train(self, epoch: int) -> Iterator[HeadInput]:
        """All training rows once; the same epoch always comes in the same order."""
        order = segment_order(np.asarray(self.train_rows.segment_B), np.random.default_rng([self.seed, epoch]))
        return self._batches(self.train_rows, order)

    def validation(self) -> Iterator[HeadInput]:
        """All validation rows once, in order."""
        return self._batches(self.validation_rows, np.arange(self.validation_rows.n_rows))

    def _batches(self, rows: HeadInput, order: NDArray[np.int64]) -> Iterator[HeadInput]:
        for start in range(0, len(order), self.batch_rows):
            yield take_rows(rows, order[start : start + self.batch_rows])


def segment_order(segment: NDArray, rng: np.random.Generator) -> NDArray[np.int64]:
    """A permutation of rows that shuffles segments and keeps each segment's rows together, in their order."""
    _, which = np.unique(segment, return_inverse=True)
    place = rng.permutation(which.max() + 1 if len(which) else 0)
    return np.argsort(place[which], kind="stable").astype(np.int64)


def read_ahead(items: Iterable[T], depth: int) -> Iterator[T]:
    """The items in their order, read by a thread that stays at most `depth` ahead; its exception is raised here."""
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
        except BaseException as error:  # handed over, raised by the consumer
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
    """The whole training split on the device, rows as they were read. row, segment: the store's, of each.

    order: their places by the store's rows. seed: what epochs are shuffled by.
    """

    rows: HeadInput
    row: NDArray[np.int32]
    segment: NDArray[np.int32]
    order: NDArray[np.int64]
    batch_rows: int
    seed: int

    @staticmethod
    def load(data: Data, config: Any, scannable: bool) -> Resident | None:
        """None where the split is larger than config.resident_bytes allows, or batches need work on the host.

        Batches go to the device one by one, so that the host never holds more than a few of them.
        """
        if not scannable:
            return None
        limit = _device_room() if config.resident_bytes is None else config.resident_bytes
        sample = next(iter(data.train(0)))
        row_bytes = sum(np.asarray(a[:1]).nbytes for a in jax.tree.leaves(sample))
        if row_bytes * data.n_train_rows > limit:
            return None
        n_room = _rounded(data.n_train_rows + config.batch_rows)
        room = jax.tree.map(lambda a: jnp.zeros((n_room, *a.shape[1:]), a.dtype), sample)
        row, segment, start = [], [], 0
        for batch in read_ahead(data.train(0), config.read_ahead):
            real = np.asarray(batch.row_B) >= 0
            if not real.any():
                continue
            kept = batch if real.all() else take_rows(batch, real)
            room = _put(room, pad_rows(kept, config.batch_rows), np.int32(start))
            row.append(np.asarray(kept.row_B))
            segment.append(np.asarray(kept.segment_B))
            start += kept.n_rows
        rows = np.concatenate(row)
        order = np.argsort(rows, kind="stable")
        return Resident(room, rows, np.concatenate(segment), order, config.batch_rows, data.seed)

    def epoch(self, number: int) -> NDArray[np.int32]:
        """index_NxB of this epoch's batches, −1 where padded; segments are shuffled, their rows stay together.

        The order is that of `ArrayData` over the same rows.
        """
        shuffled = segment_order(self.segment[self.order], np.random.default_rng([self.seed, number]))
        index = np.full(-(-len(shuffled) // self.batch_rows) * self.batch_rows, -1, np.int32)
        index[: len(shuffled)] = self.order[shuffled]
        return index.reshape(-1, self.batch_rows)


@partial(jax.jit, donate_argnums=0)
def _put(room: HeadInput, batch: HeadInput, start: Any) -> HeadInput:
    """The batch's rows in the room, from `start` on, in the room's own memory."""
    return jax.tree.map(lambda a, part: jax.lax.dynamic_update_slice_in_dim(a, part, start, 0), room, batch)


def _rounded(n_rows: int) -> int:
    """Up to a multiple of a sixteenth of its power of two: folds of nearly equal size share one compiled scan."""
    step = max(1, (1 << max(n_rows - 1, 1).bit_length()) // 16)
    return -(-n_rows // step) * step


def _device_room() -> int:
    """Bytes that resident data may take: 60 % of a GPU's memory, 1 GB on a CPU."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        return 10**9
    return int(0.6 * (device.memory_stats() or {}).get("bytes_limit", 0))
