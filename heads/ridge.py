"""The ridge probe: closed-form ridge regression from Gram matrices of one pass over the data. NumPy, float64 sums.

One pass gives validation r of every block × statistic × penalty × dimension. The probe selects layers, and it is the
baseline that a trained head must beat. scikit-learn's Ridge is not used: it holds all rows in memory and solves one block,
penalty and pattern of missing labels at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.heads.blas import one_thread
from keybed.heads.errors import BadInput
from keybed.heads.inputs import HeadInput
from keybed.heads.moments import Floats, MergedMoments, Moments, validation_r

PENALTIES = tuple(float(10.0**k) for k in range(-5, 2))
"""Added to the diagonal of the correlation matrix of the features, whose entries there are 1."""

WIDEST = 2048
"""Mean and sd together are solved up to this many columns: the cost grows with the cube, to minutes per state beyond."""

Part = str
Fold = tuple[Sequence[Part], Sequence[Part]]
"""(training parts, validation parts)."""


@dataclass(frozen=True)
class Choice:
    """One cell of the table: block, statistic, penalty and validation r; r is None where undefined."""

    block: str
    statistic: str
    penalty: float
    r: float | None


@dataclass(frozen=True)
class RidgeResult:
    """Solved probe. r[block, statistic]: float64 (penalty, K), mean over the folds whose labels vary, NaN where none vary.

    lines[block, statistic]: (slope_DxK, intercept_K), fitted on all parts with the best penalty of each dimension.
    """

    penalties: tuple[float, ...]
    r: dict[tuple[str, str], Floats]
    lines: dict[tuple[str, str], tuple[Floats, Floats]]
    score_mean_K: Floats

    def __repr__(self) -> str:
        blocks = dict.fromkeys(block for block, _ in self.r)
        return f"<RidgeResult: {', '.join(blocks)}; penalties {', '.join(f'{p:g}' for p in self.penalties)}>"

    def best(self, dimension: int, blocks: Iterable[str] | None = None) -> Choice:
        """The block, statistic and penalty with the highest r for one dimension (among `blocks`); r is None where none is defined."""
        candidates = None if blocks is None else set(blocks)
        top: Choice | None = None
        for (block, statistic), table in self.r.items():
            if candidates is not None and block not in candidates:
                continue
            index, r = _best(table[:, dimension])
            if top is None or (r is not None and (top.r is None or r > top.r)):
                top = Choice(block, statistic, self.penalties[index], r)
        if top is None:
            raise BadInput(f"no such block; there are {', '.join(sorted({b for b, _ in self.r}))}")
        return top

    def heat_map(self, statistic: str) -> tuple[list[str], list[list[float | None]]]:
        """Block names in the order they were added, and r (block, K) at the best penalty of each cell."""
        names = [block for block, s in self.r if s == statistic]
        rows = [[_best(self.r[b, statistic][:, k])[1] for k in range(len(self.score_mean_K))] for b in names]
        return names, rows

    @one_thread()
    def predict(self, features: Mapping[str, NDArray], choice: Sequence[Choice] | None = None) -> NDArray[np.float32]:
        """Scores (row, K), float32: each dimension from its best cell (or `choice`); a dimension without r gets its mean score.

        features: block → (row, statistic, width), at least of the selected blocks.
        """
        selected = [self.best(k) for k in range(len(self.score_mean_K))] if choice is None else list(choice)
        n = len(next(iter(features.values())))
        out = np.tile(self.score_mean_K, (n, 1))
        for k, c in enumerate(selected):
            if c.r is not None:
                slope_DxK, intercept_K = self.lines[c.block, c.statistic]
                x = _columns(features[c.block], c.statistic)
                out[:, k] = x @ slope_DxK[:, k] + intercept_K[k]
        return out.astype(np.float32)


def _best(r_L: Floats) -> tuple[int, float | None]:
    if np.all(np.isnan(r_L)):
        return 0, None
    index = int(np.nanargmax(r_L))
    return index, float(r_L[index])


def _mean_where_defined(tables: Sequence[Floats]) -> Floats:
    """Mean of each cell over the folds in which it is defined; NaN where it never is."""
    defined = np.isfinite(tables)
    total, count = np.where(defined, tables, 0.0).sum(axis=0), defined.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _columns(x: NDArray, statistic: str) -> Floats:
    flat = x if statistic == "both" else x[:, [{"mean": 0, "sd": 1}[statistic]]]
    return flat.reshape(len(x), -1).astype(np.float64)


class RidgeProbe:
    """Add batches of any parts in any order, then solve.

    Memory: one D × D matrix per part and block, and one per distinct pattern of missing labels; D = statistics × width.
    """

    def __init__(self, penalties: Sequence[float] = PENALTIES) -> None:
        self.penalties = tuple(penalties)
        self._moments: dict[tuple[Part, str], Moments] = {}
        self._shift: dict[str, NDArray[np.float32]] = {}
        self._shape: dict[str, tuple[int, int]] = {}
        self._score_shift: Floats | None = None

    @one_thread()
    def add(
        self,
        part: Part | NDArray[np.str_],
        features: Mapping[str, NDArray],
        score: NDArray,
        valid: NDArray,
        weight: NDArray | None = None,
    ) -> None:
        """Add a batch. features: block → (row, statistic, width); part: one name, or one per row. Raises BadInput for NaN."""
        names = np.full(len(score), part) if isinstance(part, str) else np.asarray(part)
        valid = np.asarray(valid, bool)
        y = np.where(valid, np.asarray(score, np.float64), 0.0)
        w = np.ones(len(score)) if weight is None else np.asarray(weight, np.float64)
        if self._score_shift is None:
            self._score_shift = y.sum(0) / np.maximum(valid.sum(0), 1)
        y = np.where(valid, y - self._score_shift, 0.0)
        for block, raw in features.items():
            x = raw.reshape(len(raw), -1).astype(np.float32)
            if not np.isfinite(x).all():
                row = int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
                raise BadInput(f"{block}: row {row} of this batch is not finite; leave out rows whose status is not OK")
            if block not in self._shift:
                self._shift[block], self._shape[block] = x.mean(axis=0), (raw.shape[1], raw.shape[2])
            x = x - self._shift[block]
            for name in np.unique(names):
                rows = names == name
                moments = self._moments.setdefault((str(name), block), Moments(x.shape[1], y.shape[1]))
                moments.add(x[rows], y[rows], valid[rows], w[rows])

    @one_thread()
    def solve(self, folds: Sequence[Fold], fit_on: Sequence[Part] | None = None) -> RidgeResult:
        """Validation r of all cells (mean over folds), and lines fitted with the best penalties on the parts `fit_on`,
        or on all parts of the folds.

        For the splits of a store: `solve([(["train"], ["validation"])])`. Raises BadInput for a part without rows.
        """
        if self._score_shift is None:
            raise BadInput("no rows were added")
        known = {part for part, _ in self._moments}
        asked = {p for fold in folds for side in fold for p in side}
        absent = sorted((asked | set(fit_on or ())) - known)
        if absent or not folds:
            raise BadInput(
                f"no rows of part {', '.join(absent) or '(none given)'}; there are {', '.join(sorted(known))}"
            )
        everything = sorted(asked if fit_on is None else set(fit_on))
        n_dimensions = len(self._score_shift)
        r: dict[tuple[str, str], Floats] = {}
        lines: dict[tuple[str, str], tuple[Floats, Floats]] = {}
        for block, (n_stats, width) in self._shape.items():
            statistics = {"mean": slice(0, width)}
            if n_stats == 2:
                statistics["sd"] = slice(width, 2 * width)
                if 2 * width <= WIDEST:
                    statistics["both"] = slice(0, 2 * width)
            merged = [tuple(MergedMoments([self._moments[p, block] for p in side]) for side in fold) for fold in folds]
            whole = MergedMoments([self._moments[p, block] for p in everything])
            for statistic, columns in statistics.items():
                tables = [validation_r(train, valid, columns, self.penalties) for train, valid in merged]
                table = _mean_where_defined(tables)
                slope = np.zeros((columns.stop - columns.start, n_dimensions))
                intercept = np.zeros(n_dimensions)
                for k in range(n_dimensions):
                    index, best = _best(table[:, k])
                    if best is not None:
                        slope[:, k], intercept[k] = whole.line(k, columns, self.penalties[index])
                shift = self._shift[block][columns].astype(np.float64)
                r[block, statistic] = table
                lines[block, statistic] = slope, intercept + self._score_shift - shift @ slope
        mean = whole.y_mean() + self._score_shift
        return RidgeResult(self.penalties, r, lines, mean)


def frame_block(path: str, frames: NDArray, mask: NDArray | None = None) -> dict[str, NDArray]:
    """One block {path: (row, 2, width)}: mean and sd over the valid bins of frames (row, bin, …); 0 for rows without any."""
    x = frames.reshape(*frames.shape[:2], -1).astype(np.float32)
    valid = np.ones(x.shape[:2], bool) if mask is None else mask
    count = np.maximum(valid.sum(axis=1), 1)[:, None]
    mean = np.where(valid[:, :, None], x, 0).sum(axis=1) / count
    sd = np.sqrt((np.where(valid[:, :, None], x - mean[:, None], 0) ** 2).sum(axis=1) / count)
    return {path: np.stack([mean, sd], axis=1)}


def both_frames(batch: HeadInput) -> dict[str, NDArray]:
    """One block {"both": (row, 2, width)}: mean and sd of the frames of audio and MIDI, joined along the width."""
    blocks = frame_block("audio", batch.audio_BxTxC, batch.audio_mask_BxT)
    blocks |= frame_block("midi", batch.midi_BxTxC, batch.midi_mask_BxT)
    return {"both": np.concatenate(list(blocks.values()), axis=-1)}
