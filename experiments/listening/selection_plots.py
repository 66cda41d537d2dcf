"""Plots of a drawn sample: correlations between its labels, and the ranges of its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib as mpl
import numpy as np

from keybed.experiments.listening.stratified_sample import SCORE_EDGES
from keybed.experiments.reports.figure import STYLE, as_svg, label, new_figure
from keybed.experiments.reports.heat_map import heat_map
from keybed.store.format.vocabulary import AXIS_DIMENSIONS

_TONES = ("#9b2c2c", "#dd7a1f", "#d9b44a", "#6fa8a0", "#2b6cb0")


def label_strengths(correlations: Sequence[Sequence[float]], title: str) -> str:
    """SVG heat map of |r| between every two dimensions' labels; correlations: (dimension, dimension)."""
    matrix = np.abs(np.asarray(correlations, np.float64))
    matrix[np.triu_indices(len(matrix))] = np.nan
    names = [label(name) for name in AXIS_DIMENSIONS]
    return heat_map(matrix[1:, :-1], names[1:], names[:-1], title, low=0.0, high=0.5)


def score_ranges(shares: Mapping[str, Sequence[float]]) -> str:
    """SVG bars, one per dimension: the share of its valid clips in each of the five score ranges, lowest at the left."""
    edges = ("under 60", *(f"{a:.0f}–{b:.0f}" for a, b in pairwise(SCORE_EDGES)), "over 90")
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(0.9 + 0.27 * len(shares))
        for i, parts in enumerate(shares.values()):
            left = 0.0
            for share, tone in zip(parts, _TONES, strict=True):
                axes.barh(i, share, left=left, height=0.66, color=tone)
                if share > 0.05:
                    axes.text(
                        left + share / 2, i, f"{100 * share:.0f}", color="white", fontsize=8, va="center", ha="center"
                    )
                left += share
        axes.set_yticks(range(len(shares)), [label(name) for name in shares])
        axes.set_ylim(len(shares) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        handles = [mpl.patches.Patch(color=tone, label=name) for tone, name in zip(_TONES, edges, strict=True)]
        axes.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(-0.45, 1.0), ncols=5, frameon=False, fontsize=8,
            handlelength=0.9, handletextpad=0.4, columnspacing=1.0,
        )  # fmt: skip
        return as_svg(figure, "share of clips in each range of the score, in percent")
