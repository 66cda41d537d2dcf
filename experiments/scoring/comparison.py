"""Compare recordings passage by passage: windows of two files in which the same notes are played, whatever the tempo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.scoring.comparing import Comparing
from keybed.experiments.scoring.results import (
    Compared,
    Comparison,
    PairedPassage,
    ScoredFile,
    ScoredMusic,
    WindowScores,
)
from keybed.extract.music.performance import LOWEST_PITCH, Performance
from keybed.store.format.vocabulary import DIMENSIONS

SAME_NOTES = 0.8
"""Two windows are of one passage where this share of their notes is struck in both."""
TOLERANCE_S = 0.5
"""A note is struck in both where the other recording, aligned, strikes the same key within this time."""
FRAME_S = 0.25
MOST_FRAMES = 2500
"""Frames of the longer recording, at most: longer recordings get longer frames."""
_N_KEYS = 88


def compare(
    first: ScoredFile, music: ScoredMusic, other: ScoredFile, other_music: ScoredMusic, comparing: Comparing | None
) -> Comparison:
    """Pair every window of the first file with the window of the other that plays the same notes, if there is one.

    The scores of paired windows are subtracted. With `comparing` the windows themselves are compared too: the passage of the
    other recording lies between two of its windows, and is interpolated from both. Where these begin more than half a window
    apart (a large hop), only windows that begin nearly where they should are compared.
    """
    notes, other_notes = music.performance, other_music.performance
    time, other_time = _alignment(notes, other_notes)
    matched = _matched(np.interp(notes.onset_s, time, other_time), notes.pitch, other_notes)
    other_matched = _matched(np.interp(other_notes.onset_s, *_rising(other_time, time)), other_notes.pitch, notes)
    passages = []
    centre = (other.start_s + other.end_s) / 2
    score, other_score = first.score, other.score
    for i, window in enumerate(first.windows):
        start_s, end_s = np.interp([window.start_s, window.end_s], time, other_time)
        same = _share(
            (
                (notes, matched, (window.start_s, window.end_s)),
                (other_notes, other_matched, (float(start_s), float(end_s))),
            )
        )
        if same < SAME_NOTES:
            continue
        middle_s = (start_s + end_s) / 2
        j = int(np.argmin(np.abs(centre - middle_s)))
        compared: dict[str, Compared | None] = {}
        if comparing is not None and music.relative_WxK is not None and other_music.relative_WxK is not None:
            around = _around(float(middle_s), centre, (window.end_s - window.start_s) / 2)
            if around is None:
                compared = dict.fromkeys(DIMENSIONS)
            else:
                at = list(around)
                near = other_music.relative_WxK[at]
                between = near[0] if len(at) == 1 else np.array([np.interp(middle_s, centre[at], v) for v in near.T])
                read = [window, *(other.windows[n] for n in at)]
                compared = _compared(between - music.relative_WxK[i], comparing, read)
        passages.append(
            PairedPassage(
                window.start_s,
                other.windows[j].start_s,
                round(same, 3),
                {d: _or_none(other_score[j, k] - score[i, k]) for k, d in enumerate(DIMENSIONS)},
                compared,
            )
        )
    differences = {d: [p.difference[d] for p in passages if p.difference[d] is not None] for d in DIMENSIONS}
    mean = {d: None if not v else round(float(np.mean(np.array(v, np.float64))), 3) for d, v in differences.items()}
    judged = {d: len(v) for d, v in differences.items()}
    remark = "" if passages else f"{other.name} plays no passage of {first.name}"
    if comparing is None:
        return Comparison(first.name, other.name, tuple(passages), mean, judged, remark)
    each = {d: [c for p in passages if (c := p.compared.get(d)) is not None] for d in DIMENSIONS}
    return Comparison(
        first.name,
        other.name,
        tuple(passages),
        mean,
        judged,
        remark,
        {d: _mean(cells) for d, cells in each.items()},
        {d: len(cells) for d, cells in each.items()},
        {d: sum(cell.difference > 0 for cell in cells) for d, cells in each.items()},
    )


def _around(middle_s: float, centre: NDArray[np.float64], most_s: float) -> tuple[int, ...] | None:
    """Numbers of the two windows around a moment where these lie at most most_s apart.

    Else the number of the nearest window, where it is a tenth of that away (beyond the first and the last window: half); else None.
    """
    after = int(np.searchsorted(centre, middle_s))
    inside = 0 < after < len(centre)
    if inside and centre[after] - centre[after - 1] <= most_s + 1e-6:
        return after - 1, after
    nearest = int(np.argmin(np.abs(centre - middle_s)))
    return (nearest,) if abs(centre[nearest] - middle_s) <= most_s / (10 if inside else 2) else None


def _compared(
    difference_K: NDArray[np.float64], comparing: Comparing, windows: Sequence[WindowScores]
) -> dict[str, Compared | None]:
    """The difference by dimension; None where one of the windows says too little, or lies outside the training data."""
    cells: dict[str, Compared | None] = {}
    for d, value, half in zip(DIMENSIONS, difference_K, comparing.half_width_K, strict=True):
        reasons = {window.scores[d].reason for window in windows} - {None, "wide interval"}
        if reasons or not np.isfinite(value) or not np.isfinite(half):
            cells[d] = None
            continue
        cells[d] = Compared(*(round(float(x), 3) for x in (value, value - half, value + half)))
    return cells


def _mean(cells: list[Compared]) -> Compared | None:
    if not cells:
        return None
    columns = np.array([(c.difference, c.lower, c.upper) for c in cells], np.float64)
    return Compared(*(round(float(x), 3) for x in columns.mean(axis=0)))


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 3)


def _matched(time_s: NDArray[np.float64], pitch: NDArray[np.int16], other: Performance) -> NDArray[np.bool_]:
    """Which notes have a note of the same pitch in the other recording within TOLERANCE_S. time_s: in the other's time."""
    matched = np.zeros(time_s.shape, bool)
    for key in np.unique(pitch):
        own = np.flatnonzero(pitch == key)
        there = np.concatenate([[-np.inf], other.onset_s[other.pitch == key], [np.inf]])
        after = np.searchsorted(there, time_s[own]).clip(1, there.size - 1)
        gap = np.minimum(time_s[own] - there[after - 1], there[after] - time_s[own])
        matched[own] = gap <= TOLERANCE_S
    return matched


def _share(
    sides: tuple[tuple[Performance, NDArray[np.bool_], tuple[float, float]], ...],
) -> float:
    """Share of matched notes over the stretches of both recordings; 0 without notes."""
    inside = [matched[(p.onset_s >= start_s) & (p.onset_s < end_s)] for p, matched, (start_s, end_s) in sides]
    notes = np.concatenate(inside)
    return float(notes.mean()) if notes.size else 0.0


def _alignment(a: Performance, b: Performance) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times in the first recording and the times in the other that they correspond to, both rising."""
    end_s = [float(p.offset_s.max()) for p in (a, b)]
    frame_s = max(FRAME_S, max(end_s) / MOST_FRAMES)
    x, y = (_frames(p, end, frame_s) for p, end in zip((a, b), end_s, strict=True))
    i, j = warping_path(1 - x @ y.T)
    time, first = np.unique(i, return_index=True)
    return np.asarray((time + 0.5) * frame_s, np.float64), np.asarray((j[first] + 0.5) * frame_s, np.float64)


def _rising(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The points whose x is larger than all before, so that y can be interpolated over x."""
    unique, first = np.unique(x, return_index=True)
    return unique, y[first]


def _frames(p: Performance, end_s: float, frame_s: float) -> NDArray[np.float32]:
    """Keys struck in each frame and, half as strong, in the one before; rows of length 1. float32 (frame, key)."""
    n = int(np.ceil(end_s / frame_s)) + 1
    struck = np.zeros((n, _N_KEYS), np.float32)
    np.add.at(struck, ((p.onset_s / frame_s).astype(np.int64).clip(0, n - 1), p.pitch - LOWEST_PITCH), 1)
    struck[1:] += 0.5 * struck[:-1]
    length = np.linalg.norm(struck, axis=1, keepdims=True)
    return np.asarray(struck / np.maximum(length, 1e-9), np.float32)


def warping_path(cost: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cheapest path through a cost matrix by steps (1, 1), (1, 0) and (0, 1): dynamic time warping (Sakoe and Chiba, 1978).

    Computed along antidiagonals, whose cells do not depend on each other.
    """
    n, m = cost.shape
    total = np.full((n + 1, m + 1), np.inf, np.float32)
    total[0, 0] = 0
    for diagonal in range(2, n + m + 1):
        i = np.arange(max(1, diagonal - m), min(n, diagonal - 1) + 1)
        j = diagonal - i
        before = np.minimum(np.minimum(total[i - 1, j], total[i, j - 1]), total[i - 1, j - 1])
        total[i, j] = cost[i - 1, j - 1] + before
    path = [(n - 1, m - 1)]
    i, j = n, m
    while (i, j) != (1, 1):
        i, j = min(((i - 1, j - 1), (i - 1, j), (i, j - 1)), key=lambda cell: total[cell])
        path.append((i - 1, j - 1))
    rows, columns = np.array(path[::-1]).T
    return rows, columns
