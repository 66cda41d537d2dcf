"""The difference ridge: a ridge that predicts how performances of the same notes differ in their scores.

The variants of a segment are performances of the same notes. The ridge is fitted to differences: a row's features and scores,
minus their means over the rows of its segment. What the notes themselves add to the features is equal in all variants, so it
is subtracted. No rating is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.features import Features, Positions
from keybed.heads.errors import BadInput
from keybed.heads.inputs import HeadInput
from keybed.heads.ridge import WIDEST, RidgeProbe, RidgeResult, frame_block
from keybed.store.format.rows import Rows
from keybed.store.format.vocabulary import DIMENSIONS

Floats = NDArray[np.float64]
SOURCES = ("audio", "midi", "both")
"""What the ridge reads."""
MOST_ROWS = 32_768
_BATCH_ROWS = 64
_AXES = 128
"""Principal axes that a wide modality keeps where both are read."""
_AXES_ROWS = 1024
"""Training rows that the axes are computed from."""
_NONE = np.zeros((0, len(DIMENSIONS)), np.float32)


@dataclass(frozen=True, eq=False)
class Differences:
    """Rows of whole segments, minus the means of their segments. position: (n,), in the features' rows.

    predicted: source → (n, 8). score, valid: (n, 8).
    """

    position: Positions
    predicted: Mapping[str, NDArray[np.float32]]
    score: Floats
    valid: NDArray[np.bool_]

    @staticmethod
    def joined(parts: Sequence[Differences]) -> Differences:
        """The rows of all parts, of which there is at least one, in their order."""
        return Differences(
            np.concatenate([d.position for d in parts]),
            {source: np.concatenate([d.predicted[source] for d in parts]) for source in parts[0].predicted},
            np.concatenate([d.score for d in parts]),
            np.concatenate([d.valid for d in parts]),
        )


@dataclass(frozen=True, eq=False)
class DifferenceRidge:
    """slope: source → (2 · width, 8), from mean and sd of the frames to scores. spread: source → (2, width), sd of the training
    rows' differences. Of one modality with wide features the mean alone: (width, 8), (1, width)."""

    slope: Mapping[str, Floats]
    spread: Mapping[str, Floats]

    def predict(self, units: Mapping[str, Floats], source: str) -> NDArray[np.float32]:
        """Scores (performance, 8) minus the mean of their passage.

        units: source → (performance, 2, width), the features of `window_features` minus the mean of the passage, divided by the
        spread of its performances.
        """
        return self.relative_scores(units[source] * self.spread[source], source)

    def relative_scores(self, x: NDArray, source: str) -> NDArray[np.float32]:
        """(row, 8) from features (row, 2, width). Only differences of such numbers between performances mean something."""
        return np.asarray(x.reshape(len(x), -1).astype(np.float64) @ self.slope[source], np.float32)

    def differences(self, features: Features, positions: Positions) -> Differences:
        """Predicted and true differences at these positions; segments with a single row are left out."""
        parts = [
            Differences(part, {source: self.relative_scores(x[source], source) for source in self.slope}, score, valid)
            for part, x, score, valid in _differences(features, positions, tuple(self.slope))
        ]
        none = Differences(
            positions[:0], dict.fromkeys(self.slope, _NONE), _NONE.astype(np.float64), _NONE.astype(bool)
        )
        return Differences.joined(parts or [none])


class NoSegments(BadInput):
    """Training or validation rows hold no segment with two rows, so that there is no difference to learn from."""


def window_features(batch: HeadInput, sources: Sequence[str] = SOURCES) -> dict[str, NDArray[np.float32]]:
    """Mean and sd over the bins of the frames, source → (row, 2, width).

    Of one modality the mean alone, (row, 1, width), where mean and sd together are wider than WIDEST.
    """
    blocks: dict[str, NDArray[np.float32]] = {}
    if {"audio", "both"} & set(sources):
        blocks |= frame_block("audio", batch.audio_BxTxC, batch.audio_mask_BxT)
    if {"midi", "both"} & set(sources):
        blocks |= frame_block("midi", batch.midi_BxTxC, batch.midi_mask_BxT)
    if "both" in sources:
        blocks["both"] = np.concatenate([blocks["audio"], blocks["midi"]], axis=-1)
    wide = {s: s != "both" and 2 * blocks[s].shape[-1] > WIDEST for s in sources}
    return {s: blocks[s][:, :1] if wide[s] else blocks[s] for s in sources}


def fit_difference_ridge(
    features: Features,
    train: Positions,
    validation: Positions,
    *,
    sources: Sequence[str] = SOURCES,
    fit_on: Sequence[str] = ("train", "validation"),
    most_rows: int = MOST_ROWS,
) -> DifferenceRidge:
    """Penalty and statistic of each dimension have the best r on `validation`; the slopes are fitted to the parts `fit_on`.

    most_rows: about as many rows of each part are read at most, whole segments, evenly spread: the time grows with rows times
    the square of the width. Where mean and sd of both modalities are wider than WIDEST, the ridge reads principal components
    of each modality that takes more than half of it, and its slope is that of all features. Raises NoSegments where one of the
    two parts has no segment with two rows.
    """
    train, validation = (spread_segments(features.rows, part, most_rows) for part in (train, validation))
    axes = _axes(features, train) if "both" in sources else None
    probe = RidgeProbe()
    squares: dict[str, Floats] = {}
    n_rows = {"train": 0, "validation": 0}
    for name, positions in (("train", train), ("validation", validation)):
        for _, x, score, valid in _differences(features, positions, sources):
            read = x if axes is None else x | {"both": (x["both"].reshape(len(score), -1) @ axes)[:, None]}
            probe.add(name, read, score, valid)
            n_rows[name] += len(score)
            if name == "train":
                squares = {s: squares.get(s, 0.0) + (x[s].astype(np.float64) ** 2).sum(axis=0) for s in sources}
        if n_rows[name] == 0:
            raise NoSegments(f"no segment has two rows to compare in the part {name}")
    solved = probe.solve([(["train"], ["validation"])], fit_on)
    spread = {s: np.sqrt(total / n_rows["train"]) for s, total in squares.items()}
    slope = {
        s: _slope(solved, s, spread[s].shape)
        if axes is None or s != "both"
        else axes @ _slope(solved, s, (1, axes.shape[1]))
        for s in sources
    }
    return DifferenceRidge(slope, spread)


def _axes(features: Features, train: Positions) -> Floats | None:
    """(2 · width, axis): what mean and sd of both modalities are multiplied by; None where they are narrow enough.

    Principal axes of a wide modality's differences, in units of their sd; a narrow one keeps its features.
    """
    if not len(train):
        return None
    first = window_features(features.batch(train[:1]))
    n_audio, width = first["audio"].shape[2], first["both"].shape[2]
    if 2 * width <= WIDEST:
        return None
    few = spread_segments(features.rows, train, _AXES_ROWS)
    x = [part["both"].astype(np.float32) for _, part, _, _ in _differences(features, few, ("both",))]
    if not x:
        return None
    flat = np.concatenate(x).reshape(-1, 2 * width)
    column = np.arange(2 * width)
    audio = column % width < n_audio
    parts = [_axes_of(flat, np.flatnonzero(inside)) for inside in (audio, ~audio)]
    return np.concatenate(parts, axis=1)


def _axes_of(flat: NDArray[np.float32], columns: Positions) -> Floats:
    """The axes of some columns of the features (row, all columns): (all columns, axis)."""
    axes = np.zeros((flat.shape[1], len(columns)))
    axes[columns, np.arange(len(columns))] = 1.0
    if len(columns) <= WIDEST // 2:
        return axes
    scale = 1 / np.maximum(flat[:, columns].std(axis=0), 1e-9)
    scaled = flat[:, columns] * scale
    value, vector = np.linalg.eigh((scaled @ scaled.T).astype(np.float64))
    kept = np.flatnonzero(value > 1e-6 * value[-1])[::-1][:_AXES]
    components = scaled.T @ (vector[:, kept] / np.sqrt(value[kept]))
    axes = np.zeros((flat.shape[1], len(kept)))
    axes[columns] = scale[:, None] * components
    return axes


def spread_segments(rows: Rows, positions: Positions, most_rows: int) -> Positions:
    """These positions, or those of evenly spread segments where they are more than most_rows."""
    if len(positions) <= most_rows:
        return positions
    segment = rows.segment[positions]
    names = np.unique(segment)
    kept = np.linspace(0, len(names) - 1, max(len(names) * most_rows // len(positions), 1)).astype(np.int64)
    return positions[np.isin(segment, names[kept])]


def _slope(solved: RidgeResult, source: str, shape: tuple[int, int]) -> Floats:
    """(statistics · width, K): the line of each dimension's best statistic, 0 for the other and where nothing varies."""
    statistics, width = shape
    columns = {"mean": slice(0, width), "sd": slice(width, 2 * width), "both": slice(0, 2 * width)}
    slope = np.zeros((statistics * width, len(solved.score_mean_K)))
    for k in range(slope.shape[1]):
        chosen = solved.best(k, [source])
        if chosen.r is not None:
            slope[columns[chosen.statistic], k] = solved.lines[source, chosen.statistic][0][:, k]
    return slope


def _differences(
    features: Features, positions: Positions, sources: Sequence[str]
) -> Iterator[tuple[Positions, dict[str, NDArray], Floats, NDArray[np.bool_]]]:
    """Positions; features (row, 2, width) by source, scores and validity (row, 8), minus the means of their segments.

    A dimension that only some of a segment's rows have is left out in that segment: its mean would be that of other rows.
    """
    for part in _whole_segments(features.rows, positions):
        segment, known = features.rows.segment[part], features.rows.valid[part]
        x = {s: less_segment_mean(v, segment) for s, v in window_features(features.batch(part), sources).items()}
        score = less_segment_mean(np.where(known, features.rows.score[part], 0.0), segment)
        everywhere = known & (less_segment_mean(known, segment) == 0)
        yield part, x, score, everywhere


def less_segment_mean(values: NDArray, segment: NDArray[np.integer]) -> Floats:
    """Values (row, …) minus the mean over the rows of their segment."""
    _, member, size = np.unique(segment, return_inverse=True, return_counts=True)
    total = np.zeros((len(size), *values.shape[1:]))
    np.add.at(total, member, values)
    mean = total / size.reshape(-1, *(1,) * (values.ndim - 1))
    return np.asarray(values - mean[member], np.float64)


def _whole_segments(rows: Rows, positions: Positions) -> Iterator[Positions]:
    """Positions of some _BATCH_ROWS rows at a time, segments whole; those with a single row are left out."""
    _, first, segment, size = np.unique(
        rows.segment[positions], return_index=True, return_inverse=True, return_counts=True
    )
    kept = np.flatnonzero(size[segment] > 1)
    ordered = positions[kept[np.lexsort((kept, first[segment[kept]]))]]  # near to the store's own order
    ends = np.append(np.flatnonzero(np.diff(rows.segment[ordered])) + 1, len(ordered))
    start = 0
    for end in ends.tolist():
        if end > start and (end - start >= _BATCH_ROWS or end == len(ordered)):
            yield ordered[start:end]
            start = end
