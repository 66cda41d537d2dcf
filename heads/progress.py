"""Progress reports of a running fit, and a display of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Report(NamedTuple):
    """State of a fit after a step. loss: mean over heads and seeds at a recent step."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    rows_per_s: float
    validation: float | None = None
    """Best mean concordance of any head and seed so far; None before the first validation."""


Listener = Callable[[Report], None]


@contextmanager
def display(console: Console | None = None) -> Iterator[Listener]:
    """A listener for `fit(progress=…)` that draws a bar with loss and rows per second."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("training", total=None)

        def update(report: Report) -> None:
            best = "" if report.validation is None else f" · validation CCC {report.validation:.3f}"
            bar.update(
                task,
                total=report.steps * report.epochs,
                completed=report.epoch * report.steps + report.step,
                description=f"epoch {report.epoch + 1}/{report.epochs} · loss {report.loss:.3f} · "
                f"{report.rows_per_s:,.0f} rows/s{best}",
            )

        yield update


class Pace:
    """Sends a report of an epoch's steps to the listener, at most ten per second."""

    def __init__(
        self, listener: Listener | None, epoch: int, epochs: int, steps: int, batch_rows: int, scores: list[float]
    ) -> None:
        self.listener, self.epoch, self.epochs, self.steps, self.batch_rows = listener, epoch, epochs, steps, batch_rows
        self.best = max(scores, default=None)
        self.started = self.last = time.perf_counter()

    def at(self, step: int, loss: float) -> None:
        """Report that `step` steps of this epoch are done."""
        now = time.perf_counter()
        if self.listener is None or (now - self.last < 0.1 and step < self.steps):
            return
        self.last = now
        rate = step * self.batch_rows / max(now - self.started, 1e-9)
        self.listener(Report(self.epoch, self.epochs, step, max(self.steps, step), loss, rate, self.best))
