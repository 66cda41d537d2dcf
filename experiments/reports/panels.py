"""The plots of diagnostics: difficulty, attention maps, weights of the gated head, curves, paired points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np

from keybed.experiments.evaluation.alignment_measures import Projection2d
from keybed.experiments.evaluation.ordering import Difficulty
from keybed.experiments.reports.figure import COLOURS, FAINT, GRID, STYLE, as_svg, colour, label, new_figure
from keybed.experiments.reports.plots import GATE_COLOUR, dots


def difficulty(results: Difficulty, ordering_threshold: float, slope_threshold: float) -> str:
    """Left: pristine over poor, from the easiest tenth to the hardest. Right: slope of pristine scores on each covariate."""
    deciles, slopes = results.by_decile, results.slopes
    with mpl.rc_context(STYLE):
        figure, (left, right) = new_figure(2.5, 2, width_ratios=(1, 1.0))
        left.plot(range(1, len(deciles) + 1), [d.accuracy for d in deciles], "o-", color=COLOURS["cross"], ms=4)
        left.axhline(ordering_threshold, color=GATE_COLOUR, lw=1.2, ls=(0, (4, 2)))
        left.set_ylim(0.4 if all(d.accuracy >= 0.4 for d in deciles) else 0.0, 1.03)
        left.set_title("pristine over poor")
        left.set_xlabel("easy → hard (tenths)")
        names = list(slopes)
        right.axvspan(-100 * slope_threshold, 100 * slope_threshold, color="#e6f4ea", zorder=0)
        for i, name in enumerate(names):
            dots(right, i, slopes[name], COLOURS["cross"], 4.5, factor=100)
        right.axvline(0, color=FAINT, lw=0.8)
        right.yaxis.tick_right()
        right.spines["left"].set_visible(False)
        right.set_yticks(range(len(names)), [label(n.replace("_semitones", "").replace("_hz", "")) for n in names])
        right.set_ylim(len(names) - 0.5, -0.5)
        right.set_title("slope, % of the gap")
        right.set_xlabel("allowed: green")
        for axes in (left, right):
            axes.grid(color=GRID, lw=0.7)
            axes.set_axisbelow(True)
        figure.tight_layout(w_pad=1.5)
        return as_svg(figure, "ordering by difficulty, and slope on difficulty")


def attention(
    audio_to_midi: Sequence[Sequence[float]], midi_to_audio: Sequence[Sequence[float]], window_s: float
) -> str:
    """Mean attention map of both directions: one row per query time, one column per key time."""
    with mpl.rc_context(STYLE):
        figure, panels = new_figure(2.75, 2)
        for axes, weights, title, (query, key) in zip(
            panels,
            (audio_to_midi, midi_to_audio),
            ("audio queries, MIDI keys", "MIDI queries, audio keys"),
            (("audio", "MIDI"), ("MIDI", "audio")),
            strict=True,
        ):
            axes.imshow(np.asarray(weights), cmap="Purples", vmin=0, extent=(0, window_s, window_s, 0), aspect="equal")
            axes.set_title(title)
            axes.set_xlabel(f"time in the {key} (s)")
            axes.set_ylabel(f"time in the {query} (s)" if query == "audio" else "")
            axes.spines[:].set_visible(True)
        figure.tight_layout(w_pad=1.2)
        return as_svg(figure, "mean cross-attention in both directions")


def shares(rows: Mapping[str, float], title: str) -> str:
    """Weight of the gated head on audio (left) and on MIDI (right), one bar per dimension."""
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(0.7 + 0.27 * len(rows))
        for i, (_, audio) in enumerate(rows.items()):
            axes.barh(i, audio, color=COLOURS["audio"], height=0.62)
            axes.barh(i, 1 - audio, left=audio, color=COLOURS["midi"], height=0.62)
            axes.text(0.02, i, f"{100 * audio:.0f} %", color="white", va="center", fontsize=8)
            axes.text(0.98, i, f"{100 * (1 - audio):.0f} %", color="white", va="center", ha="right", fontsize=8)
        axes.axvline(0.5, color="white", lw=0.8)
        axes.set_yticks(range(len(rows)), [label(name) for name in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.set_xticks([])
        axes.spines[:].set_visible(False)
        axes.set_title("weight on audio (blue) and MIDI (orange)")
        return as_svg(figure, title)


def validation_curves(history: Sequence[Mapping[str, Any]], heads: Sequence[str]) -> str:
    """Validation concordance (CCC) of each head by epoch, mean of the dimensions that are defined. history: an entry per epoch."""
    series: dict[str, list[float | None]] = {}
    for name in heads:
        known = ([v for v in epoch["validation"][name] if v is not None] for epoch in history)
        series[name] = [sum(values) / len(values) if values else None for values in known]
    return curves(series, "validation by epoch", "epoch", "validation CCC")


def curves(series: Mapping[str, Sequence[float | None]], title: str, xlabel: str, ylabel: str) -> str:
    """Lines over epochs or layers, one colour per model."""
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(2.5)
        for j, (name, values) in enumerate(series.items()):
            ys = [float("nan") if v is None else v for v in values]
            axes.plot(range(len(ys)), ys, "o-", color=colour(name.split(" ")[0], j), ms=3.5, lw=1.5, label=label(name))
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        axes.grid(color=GRID, lw=0.7)
        axes.set_axisbelow(True)
        axes.legend(frameon=False, fontsize=8.5, ncols=2, loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.1)
        return as_svg(figure, title)


def paired_points(before: Projection2d, after: Projection2d) -> str:
    """Both modalities on two axes, before and after alignment; a thin line joins audio and MIDI of the same row."""
    with mpl.rc_context(STYLE):
        figure, panels = new_figure(2.7, 2)
        for axes, points, title in zip(panels, (before, after), ("before", "after"), strict=True):
            audio, midi = np.asarray(points.audio), np.asarray(points.midi)
            for a, m in zip(audio, midi, strict=True):
                axes.plot([a[0], m[0]], [a[1], m[1]], color=FAINT, lw=0.35, alpha=0.5, zorder=1)
            axes.scatter(audio[:, 0], audio[:, 1], s=9, color=COLOURS["audio"], label="audio", zorder=2, linewidths=0)
            axes.scatter(midi[:, 0], midi[:, 1], s=9, color=COLOURS["midi"], label="MIDI", zorder=2, linewidths=0)
            axes.set_title(title)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(True)
        panels[0].legend(frameon=False, fontsize=8, loc="best", handletextpad=0.2)
        figure.tight_layout(w_pad=1.2)
        return as_svg(figure, "both modalities before and after alignment")
