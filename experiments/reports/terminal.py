"""What a finished run says in the terminal: the table, the verdict with its arithmetic, where the report lies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from keybed.experiments.evaluation.gates import Gate
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.reports.audio_source import RECORDED
from keybed.experiments.reports.plots import label
from keybed.store.format.vocabulary import DIMENSIONS

_SHORT = {"midi": "MIDI", "specialists": "spec."}
_COLOURS = {"GO": "green", "NO-GO": "red", "UNDEFINED": "yellow"}


def print_summary(console: Console, results: Mapping[str, Any], gate: Gate, report: Path) -> None:
    """Specific r (plain r) a head and dimension, then the gate."""
    specific: Mapping[str, Mapping[str, Interval]] = results["specific"]
    plain: Mapping[str, Mapping[str, Interval]] = results["plain"]
    title = f"specific r (plain r), {results['judged']['how']}, {results['judged']['pieces']} pieces"
    table = Table(title=title, box=SIMPLE, padding=(0, 0, 0, 1), pad_edge=False)  # 80 columns hold it
    table.add_column("dimension", no_wrap=True)
    for name in specific:
        table.add_column(_SHORT.get(name, name), justify="right")
    for dimension in DIMENSIONS:
        cells = []
        for name in specific:
            own = specific[name].get(dimension)
            first = "–" if own is None else f"{own.value:.2f}"
            cells.append(f"{first}\n({plain[name][dimension].value:.2f})")
        table.add_row(label(dimension), *cells)
    mean = results["mean"]
    table.add_section()
    table.add_row("mean", *(f"{mean['specific'][n].value:.3f}\n({mean['plain'][n].value:.2f})" for n in specific))
    console.print(table)
    for line in results["store"]["encoders"]:
        if line["random"] and line["name"] in results["pair"].values():
            console.print(
                f"[bold red]{line['name']} has random weights: these numbers say nothing about it.[/bold red]"
            )
    if results["store"]["audio_source"] == "recorded":
        console.print(f"Recorded audio. {RECORDED}")
    console.print(f"[bold {_COLOURS[gate.verdict]}]Phase {gate.phase}: {gate.verdict}[/] {gate.headline}")
    for c in gate.criteria:
        if "gain" in c.name and c.required:
            console.print(f"  {c.name}: {c.arithmetic} → {c.outcome}")
    if gate.advice is not None:
        console.print(f"  The plan: {gate.advice}")
    console.print(f"report: {report}", soft_wrap=True)
