"""The terminal summary of a finished Phase 2: the table, the verdict with its arithmetic, the path of the report."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from keybed.experiments.evaluation.decimals import number
from keybed.experiments.evaluation.gates import Gate
from keybed.experiments.evaluation.model_names import ALL_HEADS, BEST_FUSION, BEST_SINGLE, SPECIALISTS
from keybed.experiments.evaluation.phase2_results import MeanR, Phase2Results
from keybed.experiments.evaluation.rating_results import RatingRunResults
from keybed.experiments.reports.audio_source import RECORDED
from keybed.experiments.reports.figure import label
from keybed.store.counted import counted
from keybed.store.format.vocabulary import DIMENSIONS

_SHORT = {"midi": "MIDI", "specialists": "spec."}
_COLOURS = {"GO": "green", "NO-GO": "red", "UNDEFINED": "yellow"}


CHOSEN = {BEST_FUSION: "best fusion", BEST_SINGLE: "best single modality"}


def print_summary(console: Console, results: Phase2Results, gate: Gate, report: Path) -> None:
    """Print specific r (plain r) by head and dimension, then the gate."""
    evaluation = results.evaluation
    specific, plain, mean = evaluation.specific, evaluation.plain, evaluation.mean
    title = f"specific r (plain r), {evaluation.rows.how}, {counted(evaluation.rows.pieces, 'piece')}"
    heads = [name for name in specific if name not in CHOSEN]
    table = Table(
        title=title,
        caption=_chosen(evaluation.mean),
        caption_justify="left",
        box=SIMPLE,
        padding=(0, 0, 0, 1),
        pad_edge=False,
    )  # 80 columns hold it
    table.add_column("dimension", no_wrap=True)
    for name in heads:
        table.add_column(_SHORT.get(name, name), justify="right")
    for dimension in DIMENSIONS:
        cells = []
        for name in heads:
            own = specific[name].get(dimension)
            first = number(None if own is None else own.value, 2)
            cells.append(f"{first}\n({number(plain[name][dimension].value, 2)})")
        table.add_row(label(dimension), *cells)
    table.add_section()
    table.add_row("mean", *(f"{number(mean.specific[n].value)}\n({number(mean.plain[n].value, 2)})" for n in heads))
    console.print(table)
    for encoder in results.store.encoders:
        if encoder.random and encoder.name in (results.pair.audio, results.pair.midi):
            console.print(f"{encoder.name} has random weights: these numbers say nothing about it.", style="bold red")
    if results.store.audio_source == "recorded":
        console.print(f"Recorded audio. {RECORDED}")
    verdict = (f"Phase {gate.phase}: {gate.verdict}", f"bold {_COLOURS[gate.verdict]}")
    console.print(Text.assemble(verdict, f" {gate.headline}"))
    for c in gate.criteria:
        if "gain" in c.name and c.required:
            console.print(f"  {c.name}: {c.arithmetic}; asked {c.asked(percent=True)}")
    if gate.advice is not None:
        console.print(f"  The plan: {gate.advice}")
    console.print(f"report: {report}", soft_wrap=True)


def _chosen(mean: MeanR) -> str | None:
    """The two means that the gain compares; None in results that hold no model that is chosen in each fold."""
    both = [
        f"{words} {number(mean.specific[name].value)} ({number(mean.plain[name].value, 2)})"
        for name, words in CHOSEN.items()
        if name in mean.specific
    ]
    return f"mean, chosen on validation rows in each fold: {', '.join(both)}" if both else None


def print_rating_summary(console: Console, results: RatingRunResults, gate: Gate, report: Path) -> None:
    """Print Pearson r by head and dimension, then the gate."""
    heads = [*ALL_HEADS, SPECIALISTS]
    title = f"Pearson r with the ratings, {results.rows.how}, {counted(results.rows.pieces, 'piece')}"
    table = Table(title=title, box=SIMPLE, padding=(0, 0, 0, 1), pad_edge=False)
    table.add_column("dimension")
    for name in heads:
        table.add_column(_SHORT.get(name, name), justify="right")
    for dimension in results.dimensions:
        table.add_row(label(dimension), *(number(results.r[name][dimension].value, 2) for name in heads))
    table.add_section()
    table.add_row("mean", *(number(results.mean_r[name].value) for name in heads))
    console.print(table)
    for encoder in results.store.encoders:
        if encoder.random and encoder.name in (results.pair.audio, results.pair.midi):
            console.print(f"{encoder.name} has random weights: these numbers say nothing about it.", style="bold red")
    verdict = (f"Phase {gate.phase} on ratings: {gate.verdict}", f"bold {_COLOURS[gate.verdict]}")
    console.print(Text.assemble(verdict, f" {gate.headline}"))
    console.print(f"took {results.seconds:,.0f} s; report: {report}", soft_wrap=True)
