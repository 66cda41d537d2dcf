"""The page of a run on ratings by people."""

from __future__ import annotations

from keybed.experiments.evaluation.decimals import number, signed_percent
from keybed.experiments.evaluation.gates import Gate
from keybed.experiments.evaluation.model_names import ALL_HEADS, BEST_FUSION, BEST_SINGLE, SHORTCUT, SPECIALISTS
from keybed.experiments.evaluation.rating_results import RatingRunResults
from keybed.experiments.evaluation.shortcuts import IN_WORDS
from keybed.experiments.reports import panels
from keybed.experiments.reports.figure import label
from keybed.experiments.reports.page import Cell, Section, Table, gate_section, with_interval
from keybed.experiments.reports.piano_section import each_piano, unseen_piano
from keybed.store.counted import counted


def parts(results: RatingRunResults, gate: Gate) -> tuple[list[str], list[str], list[Section]]:
    """Lead lines, small lines under them, and sections."""
    a, b = results.over_single, results.over_specialists
    best = max(ALL_HEADS, key=lambda name: _value(results, name))
    lead = [
        gate.headline,
        f"The best head ({label(best)}) reaches a mean Pearson r of {with_interval(results.mean_r[best])} with the ratings.",
        f"Best fusion against the best single modality, both chosen on validation rows: {a.arithmetic}"
        f"{f' ({signed_percent(a.relative.value)})' if a.defined else ''}; against one modality per dimension: {b.arithmetic}.",
    ]
    below = [
        f"Test rows: {counted(results.rows.rows, 'row')} of {counted(results.rows.pieces, 'piece')} ({results.rows.how}); "
        f"{results.pair.audio} and {results.pair.midi}, {results.pair.view} view. Rows of one passage share its mean rating. No "
        "row is degraded, so criteria that compare variants of one segment are not applicable.",
    ]
    sections = [
        _by_dimension(results),
        _mean(results),
        each_piano(results.each_piano, "Pearson r"),
        unseen_piano(results.unseen_piano, "Pearson r"),
        gate_section(gate),
        _ratings(results),
        _training(results),
    ]
    return lead, below, [section for section in sections if section is not None]


def _value(results: RatingRunResults, name: str) -> float:
    value = results.mean_r[name].value
    return value if value == value else -1.0


def _by_dimension(results: RatingRunResults) -> Section:
    models = (*ALL_HEADS, SPECIALISTS)
    rows: list[list[Cell]] = [
        [label(dimension), *[with_interval(results.r[name][dimension], 2) for name in models]]
        for dimension in results.dimensions
    ]
    rows.append(["mean", *[with_interval(results.mean_r[name], 2) for name in models]])
    return Section(
        "Pearson r by dimension and head",
        "How closely each model follows what people heard in the playing.",
        [
            "Correlation of predictions with mean ratings, with its 95 % interval over pieces and seeds: 0 is chance, 1 is perfect."
        ],
        tables=[
            Table(["dimension", *[label(name) for name in models]], rows, numeric=tuple(range(1, 1 + len(models))))
        ],
        wide=True,
    )


def _mean(results: RatingRunResults) -> Section:
    names = [n for n in results.mean_r if n.startswith(SHORTCUT)]
    rows: list[list[Cell]] = [
        [f"{label(n.removeprefix(SHORTCUT))}: {IN_WORDS[n.removeprefix(SHORTCUT)]}", with_interval(results.mean_r[n])]
        for n in names
    ]
    chosen: list[list[Cell]] = [[label(n), with_interval(results.mean_r[n])] for n in (BEST_FUSION, BEST_SINGLE)]
    return Section(
        "Best fusion, best single modality, shortcut baselines",
        "Whether people's judgement is followed better from sound and keys together, and better than from loudness or tempo alone.",
        [
            "Shortcut baselines: ridge regression on one measure each. A head that is not better has learnt nothing beyond it."
        ],
        tables=[Table(["model", "mean r"], [*chosen, *rows], numeric=(1,))],
    )


def _ratings(results: RatingRunResults) -> Section:
    rows: list[list[Cell]] = [
        [label(name), f"{s.rows:,}", number(s.mean, 1), number(s.sd, 1), number(s.sd_over_raters, 1)]
        for name, s in results.dimensions.items()
    ]
    return Section(
        "The ratings",
        "How people marked the performances, and how far they differed from each other.",
        [
            "Scores from 0 (worst) to 100. Spread over raters: the mean standard deviation of one passage's ratings; a dash where "
            "the file holds one rating per passage."
        ],
        tables=[Table(["dimension", "rows", "mean", "sd over rows", "spread over raters"], rows, numeric=(1, 2, 3, 4))],
    )


def _training(results: RatingRunResults) -> Section:
    return Section(
        "Training",
        "How the models came closer to people's judgement while they learnt.",
        ["Concordance (CCC) on validation rows after each epoch, mean over seeds, in the first fold."],
        [panels.validation_curves(results.history, ALL_HEADS)],
    )
