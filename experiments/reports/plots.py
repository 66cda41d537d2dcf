"""The plots of results that have intervals by model or dimension: narrow enough for a phone.

Every function returns an SVG element as text; the same numbers give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np

from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.reports.figure import FAINT, GRID, STYLE, as_svg, colour, drawable, label, new_figure
from keybed.store.format.vocabulary import DIMENSIONS

GATE_COLOUR = "#c05621"
Tables = Mapping[str, Mapping[str, Interval]]


def dots(axes: Any, y: float, interval: Interval, c: str, size: float = 5.5, factor: float = 1.0) -> None:
    """A dot with its interval as a line at height y, both times `factor`."""
    value, low, high = (factor * v for v in (interval.value, interval.low, interval.high))
    if np.isfinite(low) and np.isfinite(high):
        axes.plot([low, high], [y, y], color=c, lw=1.6, solid_capstyle="butt", alpha=0.75)
    axes.plot([value], [y], "o", color=c, ms=size)


def _stripe(axes: Any, i: int) -> None:
    """A light background behind every other row."""
    if i % 2 == 0:
        axes.axhspan(i - 0.5, i + 0.5, color="#f5f7fa", zorder=0)


def _name_rows(axes: Any, names: Sequence[str], xlabel: str, above: float) -> None:
    """Names of the rows from the top down, with `above` rows of space over the first, and a grid behind the marks."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -above)
    axes.set_xlabel(xlabel)
    axes.grid(axis="x", color=GRID, lw=0.7)
    axes.set_axisbelow(True)


def _beside(axes: Any, x: float, words: str, c: str) -> None:
    """Words to the right of a vertical line, over the first row."""
    axes.annotate(words, (x, -0.62), (3, 0), textcoords="offset points", color=c, fontsize=8, va="center")


def by_dimension(
    models: Tables,
    title: str,
    xlabel: str,
    *,
    floor: Mapping[str, Interval] | None = None,
) -> str:
    """Dots with intervals: one line per dimension, one colour per model; `floor` is one grey tick per dimension."""
    present = dict.fromkeys(d for table in models.values() for d in table)
    names = [*(d for d in DIMENSIONS if d in present), *(d for d in present if d not in DIMENSIONS)]
    step = 0.8 / max(len(models), 1)
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(0.9 + len(names) * (0.2 + 0.095 * len(models)))
        for i, dimension in enumerate(names):
            _stripe(axes, i)
            for j, (model, table) in enumerate(models.items()):
                if dimension in table:
                    dots(axes, i - 0.4 + step * (j + 0.5), table[dimension], colour(model, j), 4.5)
            if floor and np.isfinite(floor[dimension].value):
                axes.plot([floor[dimension].value] * 2, [i - 0.45, i + 0.45], color=FAINT, lw=1.5, ls=(0, (2, 1.5)))
        axes.axvline(0, color=FAINT, lw=0.8)
        _name_rows(axes, [label(n) for n in names], xlabel, above=0.5)
        handles = [
            mpl.lines.Line2D([], [], marker="o", color=colour(model, j), lw=1.6, ms=4.5, label=label(model))
            for j, model in enumerate(models)
        ]
        if floor:
            handles.append(mpl.lines.Line2D([], [], color=FAINT, lw=1.5, ls=(0, (2, 1.5)), label="tier alone"))
        axes.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(-0.45, 1.0), ncols=2, frameon=False, fontsize=8.5,
            handlelength=1.6, columnspacing=1.2, borderaxespad=0.2,
        )  # fmt: skip
        return as_svg(figure, title)


def forest(
    items: Sequence[tuple[str, Interval]],
    title: str,
    xlabel: str,
    *,
    threshold: float | None = None,
    percent: bool = False,
) -> str:
    """One line per item: a dot with its interval, green where it lies above 0, red where below; and the gate's threshold."""
    factor = 100.0 if percent else 1.0
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(0.75 + 0.34 * len(items))
        for i, (_, interval) in enumerate(items):
            if not np.isfinite(interval.value):
                axes.text(
                    0.5, i, "undefined", transform=axes.get_yaxis_transform(), color=FAINT, va="center", ha="center"
                )
                continue
            shown = "#2f855a" if interval.above_zero else "#b83232" if interval.high < 0 else "#8a93a0"
            dots(axes, i, interval, shown, 6.5, factor)
        axes.axvline(0, color=FAINT, lw=0.8)
        if threshold is not None:
            axes.axvline(factor * threshold, color=GATE_COLOUR, lw=1.2, ls=(0, (4, 2)))
            _beside(axes, factor * threshold, "threshold of the gate", GATE_COLOUR)
        _name_rows(axes, [drawable(name) for name, _ in items], xlabel, above=0.8)
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(6))
        return as_svg(figure, title)


def ordering(
    models: Tables,
    keys: Sequence[str],
    thresholds: Mapping[str, float],
    title: str,
) -> str:
    """Ordering accuracy by tier pair; orange ticks are the gate's thresholds."""
    step = 0.8 / max(len(models), 1)
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(0.9 + len(keys) * (0.2 + 0.09 * len(models)))
        for i, key in enumerate(keys):
            _stripe(axes, i)
            for j, (model, table) in enumerate(models.items()):
                dots(axes, i - 0.4 + step * (j + 0.5), table[key], colour(model, j), 4.5)
            if key in thresholds:
                axes.plot([thresholds[key]] * 2, [i - 0.45, i + 0.45], color=GATE_COLOUR, lw=1.6)
        axes.axvline(0.5, color=FAINT, lw=0.8)
        _beside(axes, 0.5, "chance", FAINT)
        names = [key.replace(">", " over ").replace(", ", ",\n") for key in keys]
        _name_rows(axes, names, "share of pairs ordered correctly", above=0.8)
        axes.set_xlim(right=1.01)
        return as_svg(figure, title)
