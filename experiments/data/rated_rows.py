"""The rows of a store of ratings, with the ratings as their scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from keybed.store.command import command
from keybed.store.errors import KeybedError
from keybed.store.format.rows import Rows
from keybed.store.read.store import Store


class RatedStore(KeybedError):
    """The command is for stores whose rows are degraded; this one holds ratings by people."""


def rated_rows(store: Store) -> Rows:
    """All usable rows with a rating: score (row, rating dimension) from 0, the worst of the scale, to 100."""
    rows = store.rows()
    worst, best = (store.recipe.labels or {})["scale"]
    score = ((store.read("row/rating", rows.index) - worst) / (best - worst) * 100).astype(np.float32)
    valid = np.isfinite(score)
    return replace(rows, score=score, valid=valid).take(valid.any(axis=1))


def refuse_ratings(store: Store, what: str, does: str = "compares degraded variants of one segment") -> None:
    """Raise RatedStore for a store of ratings. what: the command; does: why it needs degraded rows."""
    if store.recipe.labels is not None:
        raise RatedStore(
            f"{store.path} holds ratings by people, no degraded rows: {what} {does}; "
            f"`{command('phase2', store.path, '--out', 'RUN')}` trains and tests heads on ratings"
        )
