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
    for name, part in _parts(report):
        before = f"{name}: " if name else ""
        table.add_row(f"{before}done", str(len(part.done)), as_ranges(part.done))
        table.add_row(f"{before}running", str(len(part.running)), as_ranges(entry.shard for entry in part.running))
        table.add_row(f"{before}failed", str(len(part.failed)), as_ranges(entry.shard for entry in part.failed))
        table.add_row(f"{before}missing", str(len(part.missing)), as_ranges(part.missing))
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


def _parts(report: StatusReport) -> list[tuple[str, StatusReport]]:
    """The rows with the encoders planned with them (""), then each added encoder."""
    return [("", report), *report.layers.items()]


def _notes(report: StatusReport) -> list[str]:
    lines: list[str] = []
    for name, part in _parts(report):
        lines += part.unreadable
        of = f" of {name}" if name else ""
        for entry in part.running:
            holder = str(entry.holder) if entry.holder else "a task that is just starting"
            lines.append(f"shard {entry.shard}{of}: {holder}, last refreshed {entry.silent_s:.0f} s ago")
        lines += [f"shard {entry.shard}{of} failed: {entry.reason} ({entry.holder})" for entry in part.failed]
    if report.failed_rows:
        lines.append("rows without features: " + ", ".join(f"{n} {name}" for name, n in report.failed_rows.items()))
        lines += [f"  {n} × {reason}" for reason, n in report.reasons.items()]
        if report.more_reasons:
            lines.append(
                f"  and {counted(report.more_reasons, 'other reason')}; all of them are in {report.path}/commits"
            )
    for name, part in _parts(report):
        if part.rows_per_s and part.rows_done < part.n_rows:
            of = f"{name}: " if name else ""
            lines.append(f"{of}{part.rows_per_s:.1f} rows/s lately, {_duration(part.time_left_s or 0.0)} left")
            if part.bound_by:
                lines.append(f"{of}{part.bound_by}")
    parts = _parts(report)
    if report.complete:
        lines.append(f"next: {command('verify', report.path)}")
    elif not any(part.running for _, part in parts):
        lacking = [(name, _open_shards(part)) for name, part in parts if _open_shards(part)]
        layers = () if lacking[0][0] == "" else ("--layer", ",".join(name for name, _ in lacking))
        open_shards = as_ranges(sorted({shard for _, shards in lacking for shard in shards}))
        lines.append(f"next: {command('extract', report.path, *layers, '--shards', open_shards)}")
    return lines


def _open_shards(report: StatusReport) -> list[int]:
    return sorted([*report.missing, *(entry.shard for entry in report.failed)])


def _duration(seconds: float) -> str:
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    return f"{hours} h {minutes % 60:02d} min" if hours else f"{minutes} min {int(seconds % 60):02d} s"
