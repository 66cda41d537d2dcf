"""The terminal view of `keybed status`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from keybed.store.check.status import StatusReport, status
from keybed.store.command import command
from keybed.store.counted import counted
from keybed.store.format.shards import as_ranges
from keybed.store.read.store import Store

if TYPE_CHECKING:
    from rich.console import Group


def render(report: StatusReport) -> Group:
    """A headline, a progress bar, a table of shards, and notes with the next command."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table("shards", "number", "which", box=None, header_style="bold")
    table.add_row("done", str(len(report.done)), as_ranges(report.done))
    table.add_row("running", str(len(report.running)), as_ranges(entry.shard for entry in report.running))
    table.add_row("failed", str(len(report.failed)), as_ranges(entry.shard for entry in report.failed))
    table.add_row("missing", str(len(report.missing)), as_ranges(report.missing))
    share = report.rows_done / report.n_rows if report.n_rows else 1.0
    head = Text(f"{report.path}: {report.rows_done:,} of {counted(report.n_rows, 'row')}, {share:.1%}")
    bar = Padding(ProgressBar(total=1.0, completed=share, width=60), 0)  # a bar alone does not end its line
    return Group(head, bar, table, Text("\n".join(_notes(report))))


def watch(store: Store, every_s: float = 5.0) -> StatusReport:
    """Show the status until the store is complete, and return the last report. Ctrl-C ends it."""
    from rich.live import Live

    report = status(store)
    with Live(render(report), auto_refresh=False) as live:
        while not report.complete:
            time.sleep(every_s)
            report = status(store)
            live.update(render(report), refresh=True)
    return report


def _notes(report: StatusReport) -> list[str]:
    lines: list[str] = list(report.unreadable)
    for entry in report.running:
        holder = str(entry.holder) if entry.holder else "a task that is just starting"
        lines.append(f"shard {entry.shard}: {holder}, last refreshed {entry.silent_s:.0f} s ago")
    lines += [f"shard {entry.shard} failed: {entry.reason} ({entry.holder})" for entry in report.failed]
    if report.failed_rows:
        lines.append("rows without features: " + ", ".join(f"{n} {name}" for name, n in report.failed_rows.items()))
        lines += [f"  {n} × {reason}" for reason, n in report.reasons.items()]
        if report.more_reasons:
            lines.append(
                f"  and {counted(report.more_reasons, 'other reason')}; all of them are in {report.path}/commits"
            )
    if report.rows_per_s and not report.complete:
        lines.append(f"{report.rows_per_s:.1f} rows/s lately, {_duration(report.time_left_s or 0.0)} left")
    if report.complete:
        lines.append(f"next: {command('verify', report.path)}")
    elif not report.running:
        open_shards = as_ranges([*report.missing, *(entry.shard for entry in report.failed)])
        lines.append(f"next: {command('extract', report.path, '--shards', open_shards)}")
    return lines


def _duration(seconds: float) -> str:
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    return f"{hours} h {minutes % 60:02d} min" if hours else f"{minutes} min {int(seconds % 60):02d} s"
