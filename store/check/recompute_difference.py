"""Compare stored rows with the same rows made again.

Labels must be equal. Features may differ a little between kinds of machine (instruction set, GPU, library versions).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from keybed.store.errors import StoreError
from keybed.store.format.array_specs import ArraySpec, task_written
from keybed.store.format.layout import Layout
from keybed.store.format.recipe import differences
from keybed.store.format.vocabulary import Status
from keybed.store.read.store import Store
from keybed.store.write.logs import read_log

ACCEPTABLE = 0.01
"""Largest acceptable relative difference of a row's features between kinds of machine."""

ROWS_PER_SHARD = 8


class Recompute(Protocol):
    """Makes rows of one shard again without writing them. rows: store rows."""

    def __call__(self, shard: int, rows: Sequence[int]) -> Mapping[str, np.ndarray]:
        """The task-written arrays of exactly these rows, in their order, as given to `commit_shard`."""
        ...


@dataclass(frozen=True)
class RecomputeDifference:
    """Differences between stored rows and the same rows made again.

    features: path → (mean, largest) over rows of ‖new − stored‖ / ‖stored‖. labels: path → rows that differ at all.
    machine_differences: how the machines that stored these rows differ from this one, as `stored | this`; None where no
    log names a machine.
    """

    n_rows: int
    features: dict[str, tuple[float, float]]
    labels: dict[str, list[int]]
    machine_differences: tuple[str, ...] | None = None

    @property
    def acceptable(self) -> bool:
        """True where labels are equal and features differ by at most 1 %."""
        return not self.labels and all(largest <= ACCEPTABLE for _, largest in self.features.values())


def measure_recompute_difference(
    store: Store,
    sound_shards: Sequence[int],
    n_rows: int,
    recompute: Recompute,
    seed: int,
    this_machine: Mapping[str, str] | None = None,
) -> RecomputeDifference:
    """Make n_rows rows of seeded random sound shards again and compare them. Raises StoreError where no shard is sound.

    this_machine: the kind of this machine, with the keys that the logs use.
    """
    if not sound_shards:
        raise StoreError(f"{store.path} has no sound shard to recompute rows of")
    random = np.random.default_rng(seed)
    n_rows = min(n_rows, sum(stop - start for start, stop in map(store.shard_range, sound_shards)))
    n_shards = min(len(sound_shards), -(-n_rows // ROWS_PER_SHARD))
    order = random.permutation(np.asarray(sound_shards))
    labels: dict[str, list[int]] = {}
    relative: dict[str, list[np.ndarray]] = {}
    left = n_rows
    machine_differences: set[str] | None = None
    for number, shard in enumerate(order.tolist()):
        start, stop = store.shard_range(shard)
        share = -(-left // max(1, n_shards - number))
        rows = np.sort(random.permutation(np.arange(start, stop))[:share])
        arrays = recompute(shard, rows.tolist())
        for stored_by in _machines(store, shard):
            if this_machine is not None:
                machine_differences = (machine_differences or set()) | set(_kinds_differ(stored_by, this_machine))
        for spec in task_written(_committed_specs(store, shard)):
            stored, new = store.read(spec.path, rows), np.asarray(arrays[spec.path])
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
    named = None if machine_differences is None else tuple(sorted(machine_differences))
    return RecomputeDifference(n_rows, features, labels, named)


def _committed_specs(store: Store, shard: int) -> list[ArraySpec]:
    """The arrays that hold this shard; those of an added layer may not."""
    parts = [store.shards_of_layer(layer) for layer in store.parts]
    return [spec for part in parts if shard in part.numbers for spec in part.specs]


def _machines(store: Store, shard: int) -> list[Mapping[str, str]]:
    """The kinds of machine that committed a shard and its added layers, as far as logs name them."""
    logs = (read_log(Layout(store.path, part), shard) for part in store.parts)
    return [log.machine for log in logs if log is not None and log.machine is not None]


def _kinds_differ(stored: Mapping[str, str], this: Mapping[str, str]) -> list[str]:
    """Differences of two kinds of machine; how an encoder runs counts where both name that encoder."""
    one_sided = {name for name in set(stored) ^ set(this) if name.endswith(" runs")}
    ours, theirs = ({n: v for n, v in kind.items() if n not in one_sided} for kind in (stored, this))
    return differences(ours, theirs)


def _relative(stored: np.ndarray, new: np.ndarray) -> np.ndarray:
    """‖new − stored‖ / ‖stored‖ of each row, float64; inf where either is NaN."""
    old64, new64 = (x.reshape(len(x), -1).astype(np.float64) for x in (stored, new))
    size = np.linalg.norm(old64, axis=1)
    distance = np.linalg.norm(new64 - old64, axis=1)
    return np.nan_to_num(distance / np.where(size > 0, size, 1.0), nan=np.inf)


def _compare_labels(
    labels: dict[str, list[int]], path: str, rows: np.ndarray, stored: np.ndarray, new: np.ndarray
) -> None:
    """Add the rows that differ to `labels`; NaN equals NaN."""
    flat_old, flat_new = stored.reshape(len(rows), -1), new.reshape(len(rows), -1)
    same = (flat_old == flat_new) | ((flat_old != flat_old) & (flat_new != flat_new))
    if not same.all():
        labels.setdefault(path, []).extend(rows[~same.all(axis=1)].tolist())
