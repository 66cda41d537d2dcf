"""Progress reports of a running fit, and a display of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Report(NamedTuple):
    """State of a fit after a step, and once more after each epoch's validation.

    loss: mean over heads and seeds at a recent step. seeds: of every head. ended: the entry of `FitResult.history` of the
    epoch that ends with this report, with loss and validation of each head and seed; None in all other reports. fit: which
    fit it is, where several follow each other, such as "aligned/fold-1-of-5".
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    rows_per_s: float
    validation: float | None = None
    """Best mean concordance of any head and seed so far; None before the first validation."""
    seeds: tuple[int, ...] = ()
    ended: dict[str, Any] | None = None
    fit: str = ""


Listener = Callable[[Report], None]
"""What `fit(progress=…)` calls: the one way to follow a fit."""


def named(listener: Listener | None, name: str) -> Listener | None:
    """The same listener, told that the reports are of the fit `name`; names within names are joined by "/"."""
    if listener is None:
        return None
    return lambda report: listener(report._replace(fit=f"{name}/{report.fit}" if report.fit else name))


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
    """Sends a report of an epoch's steps to the listener, at most ten per second, and one of its end."""

    def __init__(
        self,
        listener: Listener | None,
        epoch: int,
        epochs: int,
        steps: int,
        batch_rows: int,
        seeds: tuple[int, ...],
        scores: list[float],
    ) -> None:
        self.listener, self.batch_rows = listener, batch_rows
        self.last = Report(epoch, epochs, 0, steps, float("nan"), 0.0, max(scores, default=None), seeds)
        self.started = self.told = time.perf_counter()

    def at(self, step: int, loss: float) -> None:
        """Report that `step` steps of this epoch are done."""
        now = time.perf_counter()
        rate = step * self.batch_rows / max(now - self.started, 1e-9)
        steps = max(self.last.steps, step)
        self.last = self.last._replace(step=step, steps=steps, loss=loss, rows_per_s=rate)
        if self.listener is not None and (now - self.told >= 0.1 or step == steps):
            self.told = now
            self.listener(self.last)

    def end(self, entry: dict[str, Any], scores: list[float]) -> None:
        """Report that the epoch is validated. entry: of the history; scores: the best of each head and seed so far."""
        if self.listener is not None:
            self.listener(self.last._replace(validation=max(scores, default=None), ended=entry))
