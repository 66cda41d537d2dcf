"""How far a store is: done, running, missing, failed, and when it will be finished."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from keybed.store.disk.durable import server_now
from keybed.store.errors import ReadOnlyStore
from keybed.store.format.layout import Layout
from keybed.store.read.store import Store
from keybed.store.write.claims import STALE_AFTER_S, Holder, read_holder
from keybed.store.write.task_failures import TaskFailure, read_failures

if TYPE_CHECKING:
    from rich.console import Group

RATE_WINDOW_S = 1800.0
"""Rows per second are those of the last half hour in which anything was committed."""
_SHOWN_REASONS = 10


@dataclass(frozen=True)
class Running:
    """A shard under a live claim."""

    shard: int
    holder: Holder | None
    silent_s: float


@dataclass(frozen=True)
class StatusReport:
    """Every shard is in exactly one of done, running, failed (a task died of an error) and missing.

    failed_rows: status name → rows; reasons: the commonest reasons in words → rows; more_reasons: how many others there
    are. rows_per_s and time_left_s are None
    until something has been logged; time_left_s supposes that as many tasks go on as in the last half hour of work.
    """

    path: str
    n_rows: int
    rows_done: int
    done: tuple[int, ...]
    running: tuple[Running, ...]
    failed: tuple[TaskFailure, ...]
    missing: tuple[int, ...]
    failed_rows: dict[str, int]
    reasons: dict[str, int]
    more_reasons: int
    rows_per_s: float | None
    time_left_s: float | None

    @property
    def complete(self) -> bool:
        """True where every shard is committed."""
        return self.rows_done == self.n_rows


def status(store: Store) -> StatusReport:
    """Look at claims, commits and logs; no array is read."""
    layout = Layout(store.path)
    done = store.committed
    running = {entry.shard: entry for entry in _running(layout) if entry.shard not in done}
    open_shards = set(range(store.n_shards)) - done - set(running)
    failures = {shard: failure for shard, failure in read_failures(layout).items() if shard in open_shards}
    commits = [store.commit(shard) for shard in sorted(done)]
    rows_done = sum(commit.stop - commit.start for commit in commits)
    statuses = sum((Counter(commit.statuses) for commit in commits), Counter())
    reasons = Counter(reason for commit in commits for reason in commit.failures.values())
    rate = _rows_per_s(layout, done)
    return StatusReport(
        path=str(store.path),
        n_rows=store.n_rows,
        rows_done=rows_done,
        done=tuple(sorted(done)),
        running=tuple(running[shard] for shard in sorted(running)),
        failed=tuple(failures[shard] for shard in sorted(failures)),
        missing=tuple(sorted(open_shards - set(failures))),
        failed_rows={name: n for name, n in statuses.items() if name != "OK"},
        reasons=dict(reasons.most_common(_SHOWN_REASONS)),
        more_reasons=max(0, len(reasons) - _SHOWN_REASONS),
        rows_per_s=rate,
        time_left_s=(store.n_rows - rows_done) / rate if rate else None,
    )


def render(report: StatusReport) -> Group:
    """What `keybed status` prints."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    from keybed.store.format.shards import as_ranges

    table = Table("shards", "number", "which", box=None, header_style="bold")
    table.add_row("done", str(len(report.done)), as_ranges(report.done))
    table.add_row("running", str(len(report.running)), as_ranges(entry.shard for entry in report.running))
    table.add_row("failed", str(len(report.failed)), as_ranges(entry.shard for entry in report.failed))
    table.add_row("missing", str(len(report.missing)), as_ranges(report.missing))
    lines: list[str] = []
    for entry in report.running:
        who = str(entry.holder) if entry.holder else "a task that is just starting"
        lines.append(f"shard {entry.shard}: {who}, last sign of life {entry.silent_s:.0f} s ago")
    lines += [f"shard {entry.shard} failed: {entry.reason} ({entry.holder})" for entry in report.failed]
    if report.failed_rows:
        lines.append("rows without features: " + ", ".join(f"{n} {name}" for name, n in report.failed_rows.items()))
        lines += [f"  {n} × {reason}" for reason, n in report.reasons.items()]
        if report.more_reasons:
            lines.append(f"  and {report.more_reasons} other reasons; each row's is in {report.path}/commits")
    if report.rows_per_s and not report.complete:
        lines.append(f"{report.rows_per_s:.1f} rows/s lately, {_duration(report.time_left_s or 0.0)} left")
    if report.complete:
        lines.append(f"next: keybed verify {report.path}")
    elif not report.running:
        todo = as_ranges([*report.missing, *(entry.shard for entry in report.failed)])
        lines.append(f"next: keybed extract {report.path} --shards {todo}")
    share = report.rows_done / report.n_rows if report.n_rows else 1.0
    head = Text(f"{report.path}: {report.rows_done} of {report.n_rows} rows, {share:.1%}")
    bar = Padding(ProgressBar(total=1.0, completed=share, width=60), 0)  # alone on its line: a bar does not end one
    return Group(head, bar, table, Text("\n".join(lines)))


def _running(layout: Layout) -> Iterable[Running]:
    claims = [path for path in sorted(layout.claims.glob("*.json")) if path.stem.isdecimal()]
    if not claims:
        return
    try:
        now = server_now(layout.claims)
    except ReadOnlyStore:  # a reader's view of somebody else's store: this host's clock has to do
        now = datetime.now().timestamp()
    for path in claims:
        try:
            silent_s = max(0.0, now - path.stat().st_mtime)
        except FileNotFoundError:
            continue  # released between the listing and now
        holder = read_holder(path)
        if silent_s <= STALE_AFTER_S and not (holder and holder.surely_dead()):
            yield Running(int(path.stem), holder, silent_s)


def _rows_per_s(layout: Layout, done: Iterable[int]) -> float | None:
    entries = []
    for shard in done:
        path = layout.log_of(shard)
        if path.exists():
            entry = json.loads(path.read_bytes())
            began, ended = (datetime.fromisoformat(entry[key]).timestamp() for key in ("began", "committed"))
            entries.append((began, ended, int(entry["rows"])))
    if not entries:
        return None
    last = max(ended for _, ended, _ in entries)
    lately = [entry for entry in entries if entry[1] > last - RATE_WINDOW_S]
    seconds = last - max(min(began for began, _, _ in lately), last - RATE_WINDOW_S)
    return sum(rows for _, _, rows in lately) / seconds if seconds > 0 else None


def _duration(seconds: float) -> str:
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    return f"{hours} h {minutes % 60:02d} min" if hours else f"{minutes} min {int(seconds % 60):02d} s"


def watch(store: Store, every_s: float = 5.0) -> StatusReport:
    """Show the status until the store is complete; returns the last report. Ctrl-C leaves it as any other command."""
    import time

    from rich.live import Live

    report = status(store)
    with Live(render(report), auto_refresh=False) as live:
        while not report.complete:
            time.sleep(every_s)
            report = status(store)
            live.update(render(report), refresh=True)
    return report
