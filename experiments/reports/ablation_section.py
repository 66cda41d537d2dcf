"""The ablation table of Phase 3's page: measures of every objective, differences to the base, codewords, depth."""

from __future__ import annotations

from collections.abc import Mapping

from keybed.experiments.evaluation import ablation_results as names
from keybed.experiments.evaluation.ablation_results import Ablations
from keybed.experiments.evaluation.decimals import number
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.model_names import SINGLES
from keybed.experiments.reports import panels
from keybed.experiments.reports.figure import label
from keybed.experiments.reports.page import Cell, Section, Table, with_interval
from keybed.store.counted import counted


def ablation_section(results: Ablations) -> Section:
    """One card: every line with its measures, then the paired differences to the first line."""
    head = ["objective", *names.MEASURES]
    numeric = tuple(range(1, len(head)))
    measures: list[list[Cell]] = [[line.name, *_cells(line.measures)] for line in results.lines]
    measures.append(["chance", *[number(results.chance.get(name), 3) for name in names.MEASURES]])
    differences: list[list[Cell]] = [
        [line.name, *[_marked(line.differences[name]) for name in names.MEASURES]] for line in results.lines[1:]
    ]
    tables = [
        Table(head, measures, numeric=numeric),
        Table(
            head,
            differences,
            caption=f"Difference to {results.lines[0].name}, paired (bold: the interval leaves out 0)",
            numeric=numeric,
        ),
        _collapse(results),
    ]
    pictures = [depth_plot(line.states) for line in results.lines if line.states and has_depth(line.states)]
    return Section(
        "Terms of the alignment objective",
        "Which way of matching sound with notes finds the right moment and the right performance, and keeps what tells good from poor playing.",
        [
            f"Each line is trained on the same rows and measured on {counted(results.rows, 'test row')} of "
            f"{counted(results.pieces, 'piece')} ({counted(results.folds, 'fold')}, {counted(results.seeds, 'seed')}, "
            f"{counted(results.settings['epochs'], 'epoch')}).",
            "Bin within ±1: share of the time bins whose nearest bin of the other modality, in the same row, lies at most one "
            "bin away. Own variant: R@1 of a row's partner among its segment's variants, by clip vectors and by all bins. "
            "Retention: mean specific r of a ridge probe on what later heads read ÷ on the raw features. Mismatch AUC: how "
            "well the detector tells another variant's notes from a row's own.",
        ],
        pictures,
        tables,
        wide=True,
    )


def _cells(measures: Mapping[str, Interval]) -> list[Cell]:
    return [with_interval(measures[name], 2) for name in names.MEASURES]


def _marked(difference: Interval) -> Cell:
    text = with_interval(difference, 2)
    apart = difference.low > 0 or difference.high < 0
    return {"text": text, "style": "apart"} if apart else text


def _collapse(results: Ablations) -> Table:
    rows: list[list[Cell]] = []
    for line in results.lines:
        row: list[Cell] = [line.name]
        for m in SINGLES:
            row += [number(line.collapse[m].effective_rank, 1), number(line.collapse[m].uniformity, 2)]
        for m in SINGLES:
            use = None if line.codewords is None else line.codewords[m]
            row.append("–" if use is None else f"{100 * use.used:.0f} %, {use.perplexity:.0f}, {use.per_row:.1f}")
        rows.append(row)
    head = ["objective"]
    for m in SINGLES:
        head += [f"effective rank, {label(m)}", f"uniformity, {label(m)}"]
    head += [f"codewords used, perplexity, per row, {label(m)}" for m in SINGLES]
    return Table(
        head, rows, caption="Collapse measures (first fold and seed)", numeric=tuple(range(1, len(head))), fold=True
    )


def has_depth(states: Mapping[str, tuple[float, ...]]) -> bool:
    """Whether an encoder has more than one state, so that there is something to draw."""
    return max(map(len, states.values())) > 1


def depth_plot(states: Mapping[str, tuple[float, ...]]) -> str:
    """Alignment with the other modality's clip vectors by encoder state, a line for each modality."""
    series = {f"{label(m)} state with the other clip": values for m, values in states.items()}
    return panels.curves(series, "alignment by encoder state", "state (hidden layer) of the encoder", "alignment")
