"""A labelled heat map as inline SVG, each cell's number written in it."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np

from keybed.experiments.evaluation.decimals import number
from keybed.experiments.reports.figure import STYLE, as_svg, drawable, new_figure


def heat_map(
    matrix: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str, *, low: float, high: float
) -> str:
    """SVG text of a matrix (row, column); NaN cells are left blank and colours end at low and high."""
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(0.9 + 0.24 * len(rows))
        axes.imshow(matrix, cmap="YlGnBu", vmin=low, vmax=high, aspect="auto")
        for i, j in np.argwhere(np.isfinite(matrix)):
            dark = (matrix[i, j] - low) / (high - low) > 0.55
            text = number(matrix[i, j], 2)
            axes.text(j, i, text, ha="center", va="center", fontsize=7, color="white" if dark else "#1f2933")
        axes.set_xticks(range(len(columns)), [drawable(name) for name in columns], rotation=35, ha="right")
        axes.set_yticks(range(len(rows)), [drawable(name) for name in rows], fontsize=7.5)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(drawable(title))
        return as_svg(figure, f"heat map: {title}")
