"""Batches of one fold for training: an epoch in shuffled order, filled to a fixed number of rows; validation in row order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from keybed.experiments.data.features import STREAM_ROWS, Features, Positions
from keybed.heads.inputs import HeadInput, pad_rows


@dataclass(frozen=True, eq=False)
class FoldData:
    """Training and validation batches of one fold: `keybed.heads.data.Data` over two sets of positions.

    n_train_rows: rows of one epoch. Rows beyond the training positions are empty with weight 0, so that folds of nearly
    equal size have one shape and are compiled once.
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
    """Read about STREAM_ROWS rows at once and cut them into batches: one contiguous read instead of many small ones."""
    step = max(batch_rows, STREAM_ROWS // batch_rows * batch_rows)
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


def batch_rows_for(n_train_rows: int) -> int:
    """Rows of a batch: a power of two from 16 to 256 that gives about 60 steps per epoch where there are enough rows."""
    rows = 16
    while rows < 256 and n_train_rows // (2 * rows) >= 60:
        rows *= 2
    return rows
