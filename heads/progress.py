"""What a running fit says about itself, and a display of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Report(NamedTuple):
    """One step's news. loss: the mean over heads and seeds at a recent step."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    rows_per_s: float
    validation: float | None = None
    """Best head's mean concordance so far, once an epoch has ended."""


Listener = Callable[[Report], None]


@contextmanager
def display(console: Console | None = None) -> Iterator[Listener]:
    """A listener for `fit(progress=…)` that draws a bar with loss and rows per second."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("training", total=None)

        def listen(report: Report) -> None:
            best = "" if report.validation is None else f" · validation CCC {report.validation:.3f}"
            bar.update(
                task,
                total=report.steps * report.epochs,
                completed=report.epoch * report.steps + report.step,
                description=f"epoch {report.epoch + 1}/{report.epochs} · loss {report.loss:.3f} · "
                f"{report.rows_per_s:,.0f} rows/s{best}",
            )

        yield listen
