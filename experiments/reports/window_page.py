"""The window check's page: one line a window length, and each dimension under it."""

from __future__ import annotations

from typing import Any

from keybed.experiments.evaluation.model_names import BEST_FUSION, BEST_SINGLE
from keybed.experiments.reports import plots
from keybed.experiments.reports.page import Cell, Section, Table, number, with_interval
from keybed.experiments.reports.plots import label

Json = Any


def parts(results: Json) -> tuple[list[str], list[str], list[Section]]:
    """Lead lines, small lines under them, and sections."""
    windows = results["windows"]
    lead = [results["verdict"]]
    below = [
        "Windows differ, so rows cannot be paired: look at whether the intervals meet, not at single digits. A row of a longer window "
        "also holds more music; a store of fewer, longer rows beside these tells context from quantity."
    ]
    rows: list[list[Cell]] = [
        [
            f"{w['window_s']:g} s",
            str(w["rows"]),
            str(w["pieces"]),
            f"{100 * w['judgeable']:.0f} %",
            label(w["fusion"]),
            *[with_interval(w["mean"][name], 2) for name in (BEST_SINGLE, BEST_FUSION)],
        ]
        for w in windows
    ]
    items = [
        (f"{w['window_s']:g} s, {words}", w["mean"][name])
        for w in windows
        for name, words in ((BEST_SINGLE, "best single"), (BEST_FUSION, "best fusion"))
    ]
    judges = {f"{w['window_s']:g} s": w["specific"][BEST_FUSION] for w in windows}
    sections = [
        Section(
            "Mean specific r by window length", pictures=[plots.forest(items, "mean specific r", "mean specific r")]
        ),
        Section(
            "Dimension by dimension",
            ["Specific r of the best fusion with its 95 % interval."],
            [plots.by_dimension(judges, "specific r by window", "specific r")],
        ),
        Section(
            "The same in numbers",
            [
                "Judgeable: share of labels whose window holds enough notes, lifts or releases to show the fault. "
                f"Training: every store alike, {number(results['seconds'], 0)} s in all."
            ],
            tables=[
                Table(
                    ["window", "rows", "pieces", "judgeable", "best fusion is", "best single", "best fusion"],
                    rows,
                    numeric=(1, 2, 3, 5, 6),
                )
            ],
            wide=True,
        ),
    ]
    return lead, below, sections
