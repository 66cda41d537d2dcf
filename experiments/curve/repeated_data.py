"""Training data of a fixed number of rows per epoch, whatever the size of the training set: small sets are repeated.

Every size then takes the same number of steps and of validations, so that a curve shows the data and not the steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from keybed.experiments.data.features import Features, Positions
from keybed.heads.data import segment_order
from keybed.heads.inputs import HeadInput


@dataclass(frozen=True, eq=False)
class RepeatedData:
    """`keybed.heads.data.Data` over a fold; n_train_rows: rows of an epoch, at least those of the training set."""

    features: Features
    train_positions: Positions
    validation_positions: Positions
    batch_rows: int
    n_train_rows: int
    seed: int = 0

    def train(self, epoch: int) -> Iterator[HeadInput]:
        """The training rows, repeated; a segment counts as another one each time, so that repeats are spread."""
        positions = np.resize(self.train_positions, self.n_train_rows)
        segment = self.features.rows.segment[positions].astype(np.int64)
        repeat = np.arange(self.n_train_rows) // len(self.train_positions)
        segment = segment + repeat * (int(self.features.rows.segment.max()) + 1)
        order = segment_order(segment, np.random.default_rng([self.seed, epoch]))
        for start in range(0, len(order), self.batch_rows):
            part = order[start : start + self.batch_rows]
            yield self.features.batch(positions[part])._replace(segment_B=segment[part].astype(np.int32))

    def validation(self) -> Iterator[HeadInput]:
        """All validation rows once, in row order."""
        return self.features.batches(self.validation_positions, self.batch_rows)
