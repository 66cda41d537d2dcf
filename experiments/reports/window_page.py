"""The window check's page: mean specific r per window length, and each dimension under it."""

from __future__ import annotations

from keybed.experiments.evaluation.decimals import number
from keybed.experiments.evaluation.model_names import BEST_FUSION, BEST_SINGLE
from keybed.experiments.evaluation.window_results import WindowCheckResults
from keybed.experiments.reports import plots
from keybed.experiments.reports.figure import label
from keybed.experiments.reports.first_use import SPECIFIC_R
from keybed.experiments.reports.page import Cell, Section, Table, with_interval


def parts(results: WindowCheckResults) -> tuple[list[str], list[str], list[Section]]:
    """Lead lines, small lines under them, and sections."""
    windows = results.windows
    below = [
        f"The number is mean {SPECIFIC_R}. Windows differ, so rows cannot be paired: compare whether the intervals overlap. A "
        "row of a longer window also holds more music; a store of fewer, longer rows separates context from quantity."
    ]
    rows: list[list[Cell]] = [
        [
            f"{w.window_s:g} s",
            f"{w.rows:,}",
            str(w.pieces),
            f"{100 * w.valid_share:.0f} %",
            label(w.fusion),
            *[with_interval(w.mean[name], 2) for name in (BEST_SINGLE, BEST_FUSION)],
        ]
        for w in windows
    ]
    items = [
        (f"{w.window_s:g} s, {words}", w.mean[name])
        for w in windows
        for name, words in ((BEST_SINGLE, "best single"), (BEST_FUSION, "best fusion"))
    ]
    by_window = {f"{w.window_s:g} s": w.specific[BEST_FUSION] for w in windows}
    head = ["window", "rows", "pieces", "valid labels", "best fusion is", "best single", "best fusion"]
    sections = [
        Section(
            "Mean specific r by window length",
            "Whether playing is judged better from longer passages.",
            pictures=[plots.forest(items, "mean specific r", "mean specific r")],
        ),
        Section(
            "Specific r by dimension",
            "Which qualities of playing need a longer passage to be heard, and which a shorter one.",
            ["Specific r of the best fusion with its 95 % interval."],
            [plots.by_dimension(by_window, "specific r by window", "specific r")],
        ),
        Section(
            "The same in numbers",
            "How well playing is judged at each length of passage, and how often a passage is long enough to show a fault.",
            [
                "Valid labels: share of labels whose window holds enough notes, pedal lifts or note-offs to show the error. "
                f"All stores were trained alike, {number(results.seconds, 0)} s in all."
            ],
            tables=[Table(head, rows, numeric=(1, 2, 3, 5, 6))],
            wide=True,
        ),
    ]
    return [results.verdict], below, sections
