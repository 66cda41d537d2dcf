"""The state of a store: which shards are done, running, failed and missing, and when it will be complete."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from keybed.store.disk.commits import Commit
from keybed.store.disk.durable import server_now
from keybed.store.errors import Incomplete, ReadOnlyStore, ShardDamaged
from keybed.store.format.layout import Layout
from keybed.store.read.store import Store
from keybed.store.write.claim_files import ClaimState, claimed_shards, live_claims
from keybed.store.write.logs import read_log, unreadable_logs
from keybed.store.write.task_failures import TaskFailure, read_failures
from keybed.store.write.work_time import WorkTime

RATE_WINDOW_S = 1800.0
"""Rows per second are measured over the half hour before the last commit."""
_LISTED_REASONS = 10


@dataclass(frozen=True)
class StatusReport:
    """Every shard is in exactly one of done, running, failed (its last task ended with an error) and missing.

    layers: the same of every added encoder by name; the rest is of the rows and the encoders planned with them.
    running: shards under a live claim. failed_rows: status name → rows. reasons: the most frequent reasons → rows;
    more_reasons: how many others there are. rows_per_s and time_left_s are None until a shard has been logged; time_left_s
    assumes that as many tasks go on as in the last half hour of work. bound_by: what bound that rate, in words. unreadable: a sentence about each damaged commit and log.
    """

    path: str
    n_rows: int
    rows_done: int
    done: tuple[int, ...]
    running: tuple[ClaimState, ...]
    failed: tuple[TaskFailure, ...]
    missing: tuple[int, ...]
    failed_rows: dict[str, int]
    reasons: dict[str, int]
    more_reasons: int
    rows_per_s: float | None
    time_left_s: float | None
    bound_by: str | None = None
    unreadable: tuple[str, ...] = ()
    layers: Mapping[str, StatusReport] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """True where every shard is committed, those of added encoders too."""
        return self.rows_done == self.n_rows and all(layer.complete for layer in self.layers.values())


def status(store: Store) -> StatusReport:
    """Read claims, commits and logs; no array is read."""
    layers = {name: _status(store, name) for name in store.layers}
    return replace(_status(store, None), layers=layers)


def _status(store: Store, layer: str | None) -> StatusReport:
    layout = Layout(store.path, layer)
    done, commits, unreadable = _commits(store, layer)
    running = {state.shard: state for state in _running(layout) if state.shard not in done}
    open_shards = set(range(store.n_shards)) - done - set(running)
    failures = {shard: failure for shard, failure in read_failures(layout).items() if shard in open_shards}
    rows_done = sum(commit.stop - commit.start for commit in commits)
    statuses = sum((Counter(commit.statuses) for commit in commits), Counter())
    reasons = Counter(reason for commit in commits for reason in commit.failures.values())
    rate, bound_by = _recent_work(layout, done)
    return StatusReport(
        path=str(store.path),
        n_rows=store.n_rows,
        rows_done=rows_done,
        done=tuple(sorted(done)),
        running=tuple(running[shard] for shard in sorted(running)),
        failed=tuple(failures[shard] for shard in sorted(failures)),
        missing=tuple(sorted(open_shards - set(failures))),
        failed_rows={name: n for name, n in statuses.items() if name != "OK"},
        reasons=dict(reasons.most_common(_LISTED_REASONS)),
        more_reasons=max(0, len(reasons) - _LISTED_REASONS),
        rows_per_s=rate,
        time_left_s=(store.n_rows - rows_done) / rate if rate else None,
        bound_by=bound_by,
        unreadable=(
            *unreadable,
            *(f"{path} is damaged: `keybed verify --repair` removes it" for path in _logs(layout)),
        ),
    )


def _commits(store: Store, layer: str | None) -> tuple[frozenset[int], list[Commit], list[str]]:
    """The committed shards, their commits, and what is wrong with commits that cannot be read."""
    commits, unreadable = {}, []
    for shard in sorted(store.shards_of_layer(layer).numbers):
        try:
            commits[shard] = store.commit(shard, layer)
        except (ShardDamaged, Incomplete) as error:
            unreadable.append(str(error))
    return frozenset(commits), list(commits.values()), unreadable


def _logs(layout: Layout) -> list[Path]:
    return [path for path in unreadable_logs(layout) if not path.name.endswith(".failed.json")]


def _running(layout: Layout) -> list[ClaimState]:
    if not claimed_shards(layout):
        return []
    try:
        now = server_now(layout.claims)
    except ReadOnlyStore:  # the file server's clock cannot be read; this host's clock stands in
        now = datetime.now().timestamp()
    return live_claims(layout, now)


def _recent_work(layout: Layout, done: Iterable[int]) -> tuple[float | None, str | None]:
    """Rows per second over the last half hour in which anything was committed, and what bound them; None without a log."""
    logs = [log for log in (read_log(layout, shard) for shard in done) if log is not None]
    if not logs:
        return None, None
    last = max(log.committed for log in logs)
    recent = [log for log in logs if log.committed > last - RATE_WINDOW_S]
    seconds = last - max(min(log.began for log in recent), last - RATE_WINDOW_S)
    rate = sum(log.rows for log in recent) / seconds if seconds > 0 else None
    time = sum((log.work_time for log in recent if log.work_time is not None), WorkTime())
    return rate, time.line(
        gpu=any(log.machine is not None and log.machine.get("gpu", "none") != "none" for log in recent)
    )
