"""The plots of a curve: specific r against training segments with its extrapolation, and r against rated passages."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np

from keybed.experiments.evaluation.curve_results import BEST_HEAD, RIDGE, CellResults, RatingCurve
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.learning_curve import Extrapolation
from keybed.experiments.evaluation.model_names import SPECIALISTS
from keybed.experiments.reports.figure import FAINT, GRID, STYLE, as_svg, new_figure
from keybed.experiments.reports.plots import GATE_COLOUR

_COLOURS = {BEST_HEAD: "#2f855a", SPECIALISTS: "#4a5568", RIDGE: "#dd7a1f"}
_SHIFT = {BEST_HEAD: 1.0, SPECIALISTS: 0.955, RIDGE: 1.045}
"""Models stand beside each other, so that their intervals can be seen."""


def size_curve(cells: Sequence[CellResults], group: str, curves: dict[str, Extrapolation], target: float | None) -> str:
    """r of every model at whole pieces, the best head's extrapolation, and the same rows from all pieces (open dots)."""
    whole = [c for c in cells if c.segments_16 == 16]
    spread = [c for c in cells if c.pieces_16 == 16 and c.segments_16 < 16]
    largest = whole[-1].segments
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(3.1)
        for model, colour in _COLOURS.items():
            shift = _SHIFT[model]
            _points(axes, [c.segments * shift for c in whole], [c.r[group][model] for c in whole], colour, model)
        for c in spread:
            _points(axes, [c.segments], [c.r[group][BEST_HEAD]], _COLOURS[BEST_HEAD], None, hollow=True)
        ahead = curves[BEST_HEAD].ahead
        x = [largest, *(largest * int(m) for m in ahead)]
        at = [curves[BEST_HEAD].observed, *ahead.values()]
        axes.fill_between(x, [v.low for v in at], [v.high for v in at], color=_COLOURS[BEST_HEAD], alpha=0.13, lw=0)
        axes.plot(x, [v.value for v in at], color=_COLOURS[BEST_HEAD], lw=1.4, ls=(0, (4, 2)))
        if target is not None:
            axes.axhline(target, color=GATE_COLOUR, lw=1.1, ls=(0, (4, 2)))
            axes.text(whole[0].segments, target, "Phase 4 asks", color=GATE_COLOUR, fontsize=8, va="bottom")
        _axes(axes, [c.segments for c in whole] + x[1:], "training segments (four rows each)", "specific r")
        handles = [mpl.lines.Line2D([], [], marker="o", color=c, lw=1.4, ms=4.5, label=m) for m, c in _COLOURS.items()]
        handles.append(
            mpl.lines.Line2D(
                [],
                [],
                marker="o",
                mfc="white",
                color=_COLOURS[BEST_HEAD],
                lw=0,
                ms=5,
                label="best head, all pieces, fewer segments",
            )
        )
        axes.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(-0.1, 1.0), ncols=2, frameon=False, fontsize=8,
            handlelength=1.6, columnspacing=1.2,
        )  # fmt: skip
        return as_svg(figure, f"specific r against training segments, {group}")


def rating_plot(ratings: RatingCurve) -> str:
    """Within-passage r of models trained on n rated passages, and of the zero-shot heads as a band."""
    colours = ("#2b6cb0", "#7b4fb5")
    x = [size.passages for size in ratings.sizes]
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(2.8)
        zero = ratings.zero_shot
        axes.axhspan(zero.low, zero.high, color=FAINT, alpha=0.2, lw=0)
        axes.axhline(zero.value, color=FAINT, lw=1.4, ls=(0, (4, 2)))
        axes.axhline(0, color=FAINT, lw=0.8)
        handles = [mpl.lines.Line2D([], [], color=FAINT, lw=1.4, ls=(0, (4, 2)), label="zero-shot heads")]
        for i, name in enumerate(ratings.sizes[0].trained):
            shifted = [n * (1 + 0.05 * i) for n in x]
            _points(axes, shifted, [size.trained[name] for size in ratings.sizes], colours[i], name)
            handles.append(mpl.lines.Line2D([], [], marker="o", color=colours[i], lw=1.4, ms=4.5, label=name))
        _axes(axes, x, "rated passages of other compositions", "within-passage r")
        axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(-0.1, 1.0), frameon=False, fontsize=8)
        return as_svg(figure, "within-passage r against rated passages")


def _points(
    axes: mpl.axes.Axes,
    x: Sequence[float],
    y: Sequence[Interval],
    colour: str,
    line: str | None,
    *,
    hollow: bool = False,
) -> None:
    for at, v in zip(x, y, strict=True):
        if np.isfinite(v.low) and np.isfinite(v.high):
            axes.plot([at, at], [v.low, v.high], color=colour, lw=1.5, alpha=0.75, solid_capstyle="butt")
    face = "white" if hollow else colour
    style = "-" if line else ""
    axes.plot(x, [v.value for v in y], style, marker="o", mfc=face, color=colour, ms=5 if hollow else 4.5, lw=1.2)


def _axes(axes: mpl.axes.Axes, ticks: Sequence[float], xlabel: str, ylabel: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{t:,.0f}" for t in ticks])
    axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(axis="y", color=GRID, lw=0.7)
    axes.set_axisbelow(True)
