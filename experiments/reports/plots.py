"""The report's pictures as inline SVG: narrow enough for a phone, one colour a judge throughout.

Every function takes plain results (JSON values) and returns an SVG element as text; the same numbers give the same
bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from keybed.store.format.vocabulary import DIMENSIONS

Json = Any

COLOURS = {
    "audio": "#2b6cb0",
    "midi": "#dd7a1f",
    "concat": "#2f855a",
    "cross": "#7b4fb5",
    "gated": "#c53073",
    "specialists": "#4a5568",
    "audio swapped": "#2b6cb0",
    "MIDI swapped": "#dd7a1f",
}
LABELS = {
    "audio": "audio only",
    "midi": "MIDI only",
    "concat": "fusion: concatenation",
    "cross": "fusion: cross-attention",
    "gated": "fusion: gated",
    "specialists": "specialists",
}
_OTHERS = ("#0f766e", "#9a3412", "#4338ca", "#65a30d", "#be185d", "#64748b")
_INK, _FAINT, _GRID = "#1f2933", "#7b8794", "#e4e7eb"
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "keybed",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
WIDTH_IN = 5.0


def colour(name: str, position: int = 0) -> str:
    """A judge's colour, the same in every picture."""
    return COLOURS.get(name, _OTHERS[position % len(_OTHERS)])


def label(name: str) -> str:
    """A judge's or dimension's name for people."""
    return LABELS.get(name, name.replace("_", " "))


def as_svg(figure: Figure, description: str) -> str:
    """The figure as one SVG element without dates or ids that change; description: what a screen reader says."""
    buffer = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight", pad_inches=0.06
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    head = f'<svg role="img" aria-label="{description}" style="max-width:{int(WIDTH_IN * 96 * 1.15)}px" '
    return re.sub(r'<svg (?:xmlns:xlink="[^"]*" )?', lambda m: head + m.group(0)[5:], text, count=1)


def new_figure(height_in: float, n_columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """An empty figure as wide as every picture, and its axes (an array of them for several columns)."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, height_in))
        axes = figure.subplots(1, n_columns, **options)
    return figure, axes


def _number(value: Json) -> float:
    return float("nan") if value is None else float(value)


def _dots(axes: Any, y: float, interval: Mapping[str, Json], c: str, size: float = 5.5, **options: Any) -> None:
    value, low, high = (_number(interval[k]) for k in ("value", "low", "high"))
    if np.isfinite(low) and np.isfinite(high):
        axes.plot([low, high], [y, y], color=c, lw=1.6, solid_capstyle="butt", alpha=0.75)
    axes.plot([value], [y], "o", color=c, ms=size, **options)


def by_dimension(
    judges: Mapping[str, Mapping[str, Mapping[str, Json]]],
    title: str,
    xlabel: str,
    *,
    floor: Mapping[str, Json] | None = None,
) -> str:
    """Dots with intervals: dimensions down the page, one colour a judge; `floor` as a grey tick a dimension."""
    names = [d for d in DIMENSIONS if any(d in table for table in judges.values())]
    step = 0.8 / max(len(judges), 1)
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(0.9 + len(names) * (0.2 + 0.095 * len(judges)))
        for i, dimension in enumerate(names):
            if i % 2 == 0:
                axes.axhspan(i - 0.5, i + 0.5, color="#f5f7fa", zorder=0)
            for j, (judge, table) in enumerate(judges.items()):
                if dimension in table:
                    _dots(axes, i - 0.4 + step * (j + 0.5), table[dimension], colour(judge, j), 4.5)
            if floor and floor.get(dimension) is not None:
                axes.plot([floor[dimension]] * 2, [i - 0.45, i + 0.45], color=_FAINT, lw=1.5, ls=(0, (2, 1.5)))
        axes.axvline(0, color=_FAINT, lw=0.8)
        axes.set_yticks(range(len(names)), [label(n) for n in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel(xlabel)
        axes.grid(axis="x", color=_GRID, lw=0.7)
        axes.set_axisbelow(True)
        handles = [
            mpl.lines.Line2D([], [], marker="o", color=colour(judge, j), lw=1.6, ms=4.5, label=label(judge))
            for j, judge in enumerate(judges)
        ]
        if floor:
            handles.append(mpl.lines.Line2D([], [], color=_FAINT, lw=1.5, ls=(0, (2, 1.5)), label="tier alone"))
        axes.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(-0.45, 1.0), ncols=2, frameon=False, fontsize=8.5,
            handlelength=1.6, columnspacing=1.2, borderaxespad=0.2,
        )  # fmt: skip
        return as_svg(figure, title)


def forest(
    items: Sequence[tuple[str, Mapping[str, Json]]],
    title: str,
    xlabel: str,
    *,
    threshold: float | None = None,
    percent: bool = False,
) -> str:
    """One dot with its interval a line, and the threshold that the gate asks for."""
    factor = 100.0 if percent else 1.0
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(0.75 + 0.34 * len(items))
        for i, (_, interval) in enumerate(items):
            scaled = {k: None if interval[k] is None else factor * interval[k] for k in ("value", "low", "high")}
            if scaled["value"] is None:
                axes.text(
                    0.5, i, "undefined", transform=axes.get_yaxis_transform(), color=_FAINT, va="center", ha="center"
                )
                continue
            _dots(axes, i, scaled, "#2f855a" if (interval["low"] or -1) > 0 else "#8a93a0", 6.5)
        axes.axvline(0, color=_FAINT, lw=0.8)
        if threshold is not None:
            axes.axvline(factor * threshold, color="#c05621", lw=1.2, ls=(0, (4, 2)))
            axes.text(factor * threshold, -0.62, " the gate asks", color="#c05621", fontsize=8, ha="left", va="center")
        axes.set_yticks(range(len(items)), [name for name, _ in items])
        axes.set_ylim(len(items) - 0.5, -0.8)
        axes.set_xlabel(xlabel)
        axes.grid(axis="x", color=_GRID, lw=0.7)
        axes.set_axisbelow(True)
        return as_svg(figure, title)


def ordering(
    judges: Mapping[str, Mapping[str, Mapping[str, Json]]],
    keys: Sequence[str],
    thresholds: Mapping[str, float],
    title: str,
) -> str:
    """Share of pairs put the right way round, by tier pair; orange ticks are the gate's thresholds."""
    step = 0.8 / max(len(judges), 1)
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(0.9 + len(keys) * (0.2 + 0.09 * len(judges)))
        for i, key in enumerate(keys):
            if i % 2 == 0:
                axes.axhspan(i - 0.5, i + 0.5, color="#f5f7fa", zorder=0)
            for j, (judge, table) in enumerate(judges.items()):
                _dots(axes, i - 0.4 + step * (j + 0.5), table[key], colour(judge, j), 4.5)
            if key in thresholds:
                axes.plot([thresholds[key]] * 2, [i - 0.45, i + 0.45], color="#c05621", lw=1.6)
        axes.axvline(0.5, color=_FAINT, lw=0.8)
        axes.text(0.5, -0.62, " chance", color=_FAINT, fontsize=8, va="center")
        axes.set_yticks(range(len(keys)), [k.replace(">", " over ").replace(", ", ",\n") for k in keys])
        axes.set_ylim(len(keys) - 0.5, -0.8)
        axes.set_xlim(right=1.01)
        axes.set_xlabel("pairs put the right way round")
        axes.grid(axis="x", color=_GRID, lw=0.7)
        axes.set_axisbelow(True)
        return as_svg(figure, title)


def difficulty(deciles: Sequence[Mapping[str, Json]], slopes: Mapping[str, Mapping[str, Json]]) -> str:
    """Left: pristine over poor from the easiest tenth to the hardest. Right: how far difficulty alone moves a pristine score."""
    with mpl.rc_context(STYLE):
        figure, (left, right) = new_figure(2.5, 2, width_ratios=(1, 1.0))
        left.plot(range(1, len(deciles) + 1), [d["accuracy"] for d in deciles], "o-", color=COLOURS["cross"], ms=4)
        left.axhline(0.9, color="#c05621", lw=1.2, ls=(0, (4, 2)))
        left.set_ylim(0.4 if all(d["accuracy"] >= 0.4 for d in deciles) else 0.0, 1.03)
        left.set_title("pristine over poor")
        left.set_xlabel("easy → hard (tenths)")
        names = list(slopes)
        right.axvspan(-10, 10, color="#e6f4ea", zorder=0)
        for i, name in enumerate(names):
            scaled = {k: None if slopes[name][k] is None else 100 * slopes[name][k] for k in ("value", "low", "high")}
            _dots(right, i, scaled, COLOURS["cross"], 4.5)
        right.axvline(0, color=_FAINT, lw=0.8)
        right.yaxis.tick_right()
        right.spines["left"].set_visible(False)
        right.set_yticks(
            range(len(names)), [n.replace("_semitones", "").replace("_hz", "").replace("_", " ") for n in names]
        )
        right.set_ylim(len(names) - 0.5, -0.5)
        right.set_title("slope, % of the gap")
        right.set_xlabel("allowed: green")
        for axes in (left, right):
            axes.grid(color=_GRID, lw=0.7)
            axes.set_axisbelow(True)
        figure.tight_layout(w_pad=1.5)
        return as_svg(figure, "ordering by difficulty, and slope on difficulty")


def attention(
    audio_to_midi: Sequence[Sequence[float]], midi_to_audio: Sequence[Sequence[float]], window_s: float
) -> str:
    """Mean attention: each row a moment that listens, each column the moment it listens to."""
    with mpl.rc_context(STYLE):
        figure, panels = new_figure(2.75, 2)
        for axes, weights, title, (asking, asked) in zip(
            panels,
            (audio_to_midi, midi_to_audio),
            ("sound asks notes", "notes ask sound"),
            (("sound", "notes"), ("notes", "sound")),
            strict=True,
        ):
            axes.imshow(np.asarray(weights), cmap="Purples", vmin=0, extent=(0, window_s, window_s, 0), aspect="equal")
            axes.set_title(title)
            axes.set_xlabel(f"where in the {asked} (s)")
            axes.set_ylabel(f"at this moment of the {asking} (s)" if asking == "sound" else "")
            axes.spines[:].set_visible(True)
        figure.tight_layout(w_pad=1.2)
        return as_svg(figure, "mean cross-attention in both directions")


def shares(rows: Mapping[str, float], title: str) -> str:
    """What the gate gives to the audio (left) and to the MIDI (right) for each dimension."""
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


def curves(series: Mapping[str, Sequence[Json]], title: str, xlabel: str, ylabel: str) -> str:
    """Lines over epochs or layers, one colour a judge."""
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(2.5)
        for j, (name, values) in enumerate(series.items()):
            ys = [_number(v) for v in values]
            axes.plot(range(len(ys)), ys, "o-", color=colour(name.split(" ")[0], j), ms=3.5, lw=1.5, label=label(name))
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        axes.grid(color=_GRID, lw=0.7)
        axes.set_axisbelow(True)
        axes.legend(frameon=False, fontsize=8.5, ncols=2, loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.1)
        return as_svg(figure, title)


def clouds(before: Mapping[str, Json], after: Mapping[str, Json]) -> str:
    """Both modalities in one plane, before and after alignment; a thin line joins the two views of the same ten seconds."""
    with mpl.rc_context(STYLE):
        figure, panels = new_figure(2.7, 2)
        for axes, cloud, title in zip(panels, (before, after), ("before", "after"), strict=True):
            audio, midi = np.asarray(cloud["audio"]), np.asarray(cloud["midi"])
            for a, m in zip(audio, midi, strict=True):
                axes.plot([a[0], m[0]], [a[1], m[1]], color=_FAINT, lw=0.35, alpha=0.5, zorder=1)
            axes.scatter(audio[:, 0], audio[:, 1], s=9, color=COLOURS["audio"], label="sound", zorder=2, linewidths=0)
            axes.scatter(midi[:, 0], midi[:, 1], s=9, color=COLOURS["midi"], label="notes", zorder=2, linewidths=0)
            axes.set_title(title)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(True)
        panels[0].legend(frameon=False, fontsize=8, loc="best", handletextpad=0.2)
        figure.tight_layout(w_pad=1.2)
        return as_svg(figure, "both modalities before and after alignment")
