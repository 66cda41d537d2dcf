"""The page of a comparison: what the runs differ in, paired differences by model and by dimension, all numbers."""

from __future__ import annotations

from pathlib import Path

from keybed.experiments.evaluation.comparison_results import ComparedRun, Comparison
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.model_names import ALL_HEADS
from keybed.experiments.reports import plots
from keybed.experiments.reports.figure import label
from keybed.experiments.reports.first_use import SPECIFIC_R
from keybed.experiments.reports.page import Banner, Cell, Page, Section, Table, with_interval, write_page
from keybed.experiments.reports.terminal import CHOSEN
from keybed.store.counted import counted

UNCORRECTED = "Intervals are not corrected for the number of comparisons: where runs do not differ, about one interval in twenty excludes 0."


COMPOSED = (
    "This music was composed and performed by a program, for the demo. Differences between runs on it show how a comparison works, "
    "not which run judges playing better."
)


def write_comparison_page(results: Comparison, path: Path) -> Path:
    """One self-contained HTML file of a comparison's results.json."""
    below = [
        f"{counted(results.rows, 'test row')} of {counted(results.pieces, 'piece')} that all runs predicted, {counted(results.seeds, 'seed')}. "
        "Differences are paired: both runs are resampled with the same pieces and seeds.",
        *([f"The number is mean {SPECIFIC_R}."] if results.measure == "specific r" else []),
        *([f"Left out: {'; '.join(results.left_out)}."] if results.left_out else []),
    ]
    page = Page(
        title=f"Keybed · comparison · {', '.join(results.runs)}",
        verdict="UNDEFINED",
        word=_word(results),
        lead=[_lead(results, row) for row in results.models[results.headline][1:]],
        below=below,
        advice=None,
        banners=_banners(results),
        notice=COMPOSED if results.composed else "",
        sections=[_differ(results), _by_model(results), _by_dimension(results), _numbers(results)],
        footer=[
            "Intervals: 95 %, expanded BCa bootstrap over pieces and seeds together. The same numbers are in results.json."
        ],
    )
    return write_page(page, path)


def _banners(results: Comparison) -> list[Banner]:
    if not results.random_encoders:
        return []
    named = " and ".join(results.random_encoders)
    return [
        Banner(
            f"{named}: seeded random weights, not the trained encoder. Do not base a decision on it.",
            "Random weights.",
            True,
        )
    ]


def side(difference: Interval) -> str:
    """Which run is better, as far as the interval shows: "second", "first" or "" for neither."""
    if difference.above_zero:
        return "second"
    return "first" if difference.high < 0 else ""


def _word(results: Comparison) -> str:
    if len(results.runs) > 2:
        return counted(len(results.runs), "run")
    difference = results.models[results.headline][1].difference
    better = "" if difference is None else side(difference)
    return f"{better.capitalize()} run better" if better else "No difference shown"


def _lead(results: Comparison, row: ComparedRun) -> str:
    """One sentence: both means of the headline model, their difference, and what its interval shows."""
    first = results.models[results.headline][0]
    assert row.difference is not None
    better = {"second": f"{row.run} is better", "first": f"{first.run} is better", "": "either may be better"}
    return (
        f"{_capital(label(results.headline))}: mean {results.measure} {with_interval(row.mean)} in {row.run} and {with_interval(first.mean)} "
        f"in {first.run}; difference {with_interval(row.difference)}: {better[side(row.difference)]}."
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _differ(results: Comparison) -> Section:
    rows: list[list[Cell]] = [[name, *texts] for name, texts in results.different.items()]
    same = "; ".join(f"{name} {text}" for name, text in results.same.items())
    text = [f"The same in all runs: {same}."] if same else []
    if not rows:
        text.insert(0, "The runs have the same options and encoders.")
    return Section(
        "What the runs differ in",
        "What was done differently before the playing was judged.",
        text,
        tables=[Table(["", *results.runs], rows)] if rows else [],
        wide=True,
    )


def _short(model: str) -> str:
    """A model's name where a picture has little space."""
    return CHOSEN.get(model, label(model))


def _by_model(results: Comparison) -> Section:
    pictures = []
    for run in results.runs[1:]:
        items = [
            (_short(model), row.difference)
            for model, rows in results.models.items()
            for row in rows[1:]
            if row.run == run and row.difference is not None
        ]
        if items:
            pictures.append(plots.forest(items, f"difference by model, {run}", _axis(results, run, "mean ")))
    return Section(
        "Difference by model",
        "Whether one run judges the same performances better than the other.",
        [
            f"Mean {results.measure} minus that of the first run with the same model, with its 95 % interval. Green: the whole interval "
            "lies above 0; red: below; grey: the interval contains 0.",
            UNCORRECTED,
        ],
        pictures,
    )


def _axis(results: Comparison, run: str, mean: str = "") -> str:
    """The label of a picture's axis; it names the run where there are several pictures."""
    words = f"difference of {mean}{results.measure}"
    return f"{run}: {words}" if len(results.runs) > 2 else words


def _by_dimension(results: Comparison) -> Section:
    pictures = []
    for run in results.runs[1:]:
        shown = {
            model: row.by_dimension
            for model, rows in results.models.items()
            if model in (*ALL_HEADS, results.headline)
            for row in rows[1:]
            if row.run == run
        }
        if shown:
            pictures.append(plots.by_dimension(shown, f"difference by dimension, {run}", _axis(results, run)))
    return Section(
        "Difference by dimension",
        "Which qualities of playing one run judges better than the other.",
        [
            f"{_capital(results.measure)} minus that of the first run with the same model, in each dimension, with its 95 % interval."
        ],
        pictures,
    )


def _numbers(results: Comparison) -> Section:
    variants = any(row.pairwise is not None for rows in results.models.values() for row in rows)
    rows: list[list[Cell]] = []
    for model, compared in results.models.items():
        for row in compared:
            values = [row.mean, row.difference, *((row.pairwise, row.pairwise_difference) if variants else ())]
            rows.append([label(model), row.run, *("–" if v is None else with_interval(v) for v in values)])
    head = ["model", "run", f"mean {results.measure}", "difference to the first"]
    head += ["pairwise accuracy", "difference to the first"] if variants else []
    text = (
        [
            "Pairwise accuracy: the share of pairs of one segment's degraded variants in the right order, mean of seven dimensions."
        ]
        if variants
        else []
    )
    return Section(
        "All numbers",
        "How well each run judges the playing, and how the runs differ.",
        text,
        tables=[Table(head, rows, numeric=tuple(range(2, len(head))))],
        wide=True,
    )
