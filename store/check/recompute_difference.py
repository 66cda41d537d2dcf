"""How far rows made anew differ from the rows stored: labels must not, features a little between kinds of machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from keybed.store.errors import StoreError
from keybed.store.format.layout import Layout
from keybed.store.format.recipe import differences
from keybed.store.format.vocabulary import Status
from keybed.store.read.store import Store

ACCEPTABLE = 0.01
"""Relative drift of a row's features that another kind of machine may cause (DESIGN: expected below 1 %)."""

ROWS_A_SHARD = 8


class Recompute(Protocol):
    """Makes rows of one shard again, without writing: rows are store rows, arrays as given to `commit_shard`."""

    def __call__(self, shard: int, rows: Sequence[int]) -> Mapping[str, np.ndarray]:
        """Task-written arrays of exactly these rows, in their order."""
        ...


@dataclass(frozen=True)
class RecomputeDifference:
    """What differs between rows stored and made again.

    features: path → (mean, largest) over rows of ‖new − stored‖ / ‖stored‖. labels: path → rows that differ at all.
    kinds: in what the machines that stored these rows differ from this one, as `there | here`; None where no log tells.
    """

    n_rows: int
    features: dict[str, tuple[float, float]]
    labels: dict[str, list[int]]
    kinds: tuple[str, ...] | None = None

    @property
    def acceptable(self) -> bool:
        """True where labels are equal and features within 1 %."""
        return not self.labels and all(largest <= ACCEPTABLE for _, largest in self.features.values())

    def lines(self) -> list[str]:
        """One line an array."""
        said = [f"recomputed {self.n_rows} rows; relative difference of features, mean and largest:"]
        if self.kinds is not None:
            other = f"another kind of machine (there | here): {'; '.join(self.kinds)}"
            said.insert(0, f"stored by {other if self.kinds else 'this kind of machine'}")
        said += [f"  {path}: {mean:.2e}, {largest:.2e}" for path, (mean, largest) in self.features.items()]
        said += [f"  {path} DIFFERS in rows {rows[:8]}" for path, rows in self.labels.items()]
        if not self.labels:
            said.append("  labels and degradations are equal, bit for bit")
        return said


def measure_recompute_difference(
    store: Store,
    good: Sequence[int],
    n_rows: int,
    recompute: Recompute,
    seed: int,
    here: Mapping[str, str] | None = None,
) -> RecomputeDifference:
    """Make n_rows rows of seeded random committed shards again and compare. Raises StoreError where none is sound.

    here: the kind of this machine, as the logs name it.
    """
    if not good:
        raise StoreError(f"{store.path} has no sound shard to recompute rows of")
    random = np.random.default_rng(seed)
    n_rows = min(n_rows, sum(stop - start for start, stop in map(store.shard_range, good)))
    n_shards = min(len(good), -(-n_rows // ROWS_A_SHARD))
    order = random.permutation(np.asarray(good))
    labels: dict[str, list[int]] = {}
    relative: dict[str, list[np.ndarray]] = {}
    left = n_rows
    kinds: set[str] | None = None
    for number, shard in enumerate(order.tolist()):
        start, stop = store.shard_range(shard)
        share = -(-left // max(1, n_shards - number))
        rows = np.sort(random.permutation(np.arange(start, stop))[:share])
        made = recompute(shard, rows.tolist())
        there = _machine(store, shard)
        if here is not None and there is not None:
            kinds = (kinds or set()) | set(differences(there, here))
        for spec in store.specs:
            if spec.writer == "task":
                stored, new = store.read(spec.path, rows), np.asarray(made[spec.path])
                if spec.dtype == "float16":
                    ok = store.read("row/status", rows) == Status.OK
                    relative.setdefault(spec.path, []).append(_relative(stored[ok], new[ok].astype(np.float16)))
                else:
                    _compare_labels(labels, spec.path, rows, stored, new)
        left -= len(rows)
        if left <= 0:
            break
    gathered = {path: np.concatenate(parts) for path, parts in relative.items()}
    features = {path: (float(v.mean()), float(v.max())) if len(v) else (0.0, 0.0) for path, v in gathered.items()}
    return RecomputeDifference(n_rows, features, labels, None if kinds is None else tuple(sorted(kinds)))


def _machine(store: Store, shard: int) -> dict[str, str] | None:
    path = Layout(store.path).log_of(shard)
    found: dict[str, str] | None = json.loads(path.read_bytes()).get("machine") if path.exists() else None
    return found


def _relative(stored: np.ndarray, new: np.ndarray) -> np.ndarray:
    old64, new64 = (x.reshape(len(x), -1).astype(np.float64) for x in (stored, new))
    size = np.linalg.norm(old64, axis=1)
    distance = np.linalg.norm(new64 - old64, axis=1)
    return np.nan_to_num(distance / np.where(size > 0, size, 1.0), nan=np.inf)


def _compare_labels(
    labels: dict[str, list[int]], path: str, rows: np.ndarray, stored: np.ndarray, new: np.ndarray
) -> None:
    flat_old, flat_new = stored.reshape(len(rows), -1), new.reshape(len(rows), -1)
    same = (flat_old == flat_new) | ((flat_old != flat_old) & (flat_new != flat_new))
    if not same.all():
        labels.setdefault(path, []).extend(rows[~same.all(axis=1)].tolist())
