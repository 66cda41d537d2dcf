"""The closed-form probe: ridge regression from Gram matrices of one streaming pass. Plain NumPy, float64 sums.

One pass gives every state × statistic × penalty × dimension, judged on pieces that were left out. It chooses layers, and it
is the line that every trained head must beat.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from keybed.heads.errors import BadInput

PENALTIES = tuple(float(10.0**k) for k in range(-5, 2))
"""Added to the diagonal of the correlation matrix: 1 weighs as much as the data themselves."""

_ROUNDING = 1e-6
"""Share of a mean square that sums of float32 products cannot tell from a variance."""

Floats = NDArray[np.float64]
Part = str
Fold = tuple[Sequence[Part], Sequence[Part]]
"""(training parts, validation parts)."""


@dataclass(frozen=True)
class Choice:
    """One cell of the table: where to read, and how well it does on the pieces left out. r is None where undefined."""

    block: str
    statistic: str
    penalty: float
    r: float | None


@dataclass(frozen=True)
class RidgeResult:
    """r[block, statistic]: validation r float64 (penalty, K), mean over the folds whose labels vary, NaN where none's do.

    lines[block, statistic]: (slope_DxK, intercept_K) fitted on all parts with each dimension's best penalty.
    """

    penalties: tuple[float, ...]
    r: dict[tuple[str, str], Floats]
    lines: dict[tuple[str, str], tuple[Floats, Floats]]
    score_mean_K: Floats

    def best(self, dimension: int, blocks: Iterable[str] | None = None) -> Choice:
        """The best block, statistic and penalty for one dimension (among some blocks); r None where none is defined."""
        wanted = None if blocks is None else set(blocks)
        top: Choice | None = None
        for (block, statistic), table in self.r.items():
            if wanted is not None and block not in wanted:
                continue
            at, r = _best(table[:, dimension])
            if top is None or (r is not None and (top.r is None or r > top.r)):
                top = Choice(block, statistic, self.penalties[at], r)
        if top is None:
            raise BadInput(f"no such block; there are {', '.join(sorted({b for b, _ in self.r}))}")
        return top

    def heat_map(self, statistic: str) -> tuple[list[str], list[list[float | None]]]:
        """Blocks in the order they were added, and r (block, K) at each cell's best penalty."""
        names = [block for block, s in self.r if s == statistic]
        rows = [[_best(self.r[b, statistic][:, k])[1] for k in range(len(self.score_mean_K))] for b in names]
        return names, rows

    def predict(self, features: Mapping[str, NDArray], choice: Sequence[Choice] | None = None) -> NDArray[np.float32]:
        """Scores (row, K), each dimension from its best choice (or the given ones); a dimension without r gets its mean.

        features: block -> (row, statistic, width) of at least the chosen blocks.
        """
        chosen = [self.best(k) for k in range(len(self.score_mean_K))] if choice is None else list(choice)
        n = len(next(iter(features.values())))
        out = np.tile(self.score_mean_K, (n, 1))
        for k, c in enumerate(chosen):
            if c.r is not None:
                slope_DxK, intercept_K = self.lines[c.block, c.statistic]
                x = _columns(features[c.block], c.statistic)
                out[:, k] = x @ slope_DxK[:, k] + intercept_K[k]
        return out.astype(np.float32)


def piece_parts(piece: NDArray, n_parts: int = 5) -> NDArray[np.str_]:
    """A part's name for each row, whole pieces to a part, rows spread evenly. Raises BadInput for fewer pieces than parts."""
    pieces, counts = np.unique(piece, return_counts=True)
    if len(pieces) < n_parts:
        raise BadInput(f"{n_parts} piece-grouped parts need as many pieces; there are {len(pieces)}")
    filled, part_of = np.zeros(n_parts, np.int64), {}
    for i in np.argsort(-counts, kind="stable"):
        part = int(np.argmin(filled))
        part_of[pieces[i]] = f"part-{part}"
        filled[part] += counts[i]
    return np.array([part_of[p] for p in piece])


def leave_one_out(parts: Sequence[Part]) -> list[Fold]:
    """Each part validates once, the others train."""
    return [([p for p in parts if p != out], [out]) for out in parts]


def _best(r_L: Floats) -> tuple[int, float | None]:
    if np.all(np.isnan(r_L)):
        return 0, None
    at = int(np.nanargmax(r_L))
    return at, float(r_L[at])


def _mean_where_defined(tables: Sequence[Floats]) -> Floats:
    """Mean over the folds in which a cell is defined; NaN where it is in none."""
    told = np.isfinite(tables)
    total, count = np.where(told, tables, 0.0).sum(axis=0), told.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _columns(x: NDArray, statistic: str) -> Floats:
    flat = x if statistic == "both" else x[:, [{"mean": 0, "sd": 1}[statistic]]]
    return flat.reshape(len(x), -1).astype(np.float64)


class _Moments:
    """Sums over the rows of one part and block; what rows without a label of a dimension take away is kept apart."""

    def __init__(self, width: int, n_dimensions: int) -> None:
        self.xx, self.x, self.n = np.zeros((width, width)), np.zeros(width), 0.0
        self.xy, self.xk = np.zeros((width, n_dimensions)), np.zeros((width, n_dimensions))
        self.y, self.yy, self.nk = np.zeros(n_dimensions), np.zeros(n_dimensions), np.zeros(n_dimensions)
        self.groups: list[tuple[list[int], Floats | None]] = [(list(range(n_dimensions)), None)]

    def add(self, x: NDArray[np.float32], y: Floats, valid: NDArray[np.bool_], weight: Floats) -> None:
        root = np.sqrt(weight).astype(np.float32)[:, None]
        scaled = x * root
        self.xx += scaled.T @ scaled
        w = weight[:, None] * valid
        self.n += weight.sum()
        self.xy += x.T.astype(np.float64) @ (w * y)
        self.xk += x.T.astype(np.float64) @ w
        self.y, self.yy, self.nk = self.y + (w * y).sum(0), self.yy + (w * y * y).sum(0), self.nk + w.sum(0)
        groups: list[tuple[list[int], Floats | None]] = []
        for members, lost in self.groups:
            for columns in _same_columns(valid, members):
                missing = ~valid[:, columns[0]]
                mine = lost
                if missing.any():
                    part = scaled[missing]
                    mine = (0.0 if lost is None else lost) + (part.T @ part).astype(np.float64)
                groups.append((columns, mine))
        self.groups = groups

    def gram(self, k: int) -> Floats:
        """Σ w x xᵀ over the rows where dimension k is valid."""
        lost = next(lost for members, lost in self.groups if k in members)
        return self.xx if lost is None else self.xx - lost


def _same_columns(valid: NDArray[np.bool_], members: list[int]) -> list[list[int]]:
    found: dict[bytes, list[int]] = {}
    for k in members:
        found.setdefault(valid[:, k].tobytes(), []).append(k)
    return list(found.values())


class RidgeProbe:
    """Add batches of any parts in any order, then solve. Memory: one D × D matrix a part and block (and one for each
    distinct pattern of missing labels), D = statistics × width.
    """

    def __init__(self, penalties: Sequence[float] = PENALTIES) -> None:
        self.penalties = tuple(penalties)
        self._moments: dict[tuple[Part, str], _Moments] = {}
        self._shift: dict[str, NDArray[np.float32]] = {}
        self._shape: dict[str, tuple[int, int]] = {}
        self._score_shift: Floats | None = None

    def add(
        self,
        part: Part | NDArray[np.str_],
        features: Mapping[str, NDArray],
        score: NDArray,
        valid: NDArray,
        weight: NDArray | None = None,
    ) -> None:
        """One batch. features: block -> (row, statistic, width); part: one name, or one a row. Raises BadInput for NaN."""
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
                moments = self._moments.setdefault((str(name), block), _Moments(x.shape[1], y.shape[1]))
                moments.add(x[rows], y[rows], valid[rows], w[rows])

    def solve(self, folds: Sequence[Fold]) -> RidgeResult:
        """Validation r of everything, mean over the folds in which it is defined; lines fitted on all parts with the best penalties.

        For a store's own splits: `solve([(["train"], ["validation"])])`. Raises BadInput for a part without rows.
        """
        if self._score_shift is None:
            raise BadInput("no rows were added")
        known = {part for part, _ in self._moments}
        absent = sorted({p for fold in folds for side in fold for p in side} - known)
        if absent or not folds:
            raise BadInput(
                f"no rows of part {', '.join(absent) or '(none given)'}; there are {', '.join(sorted(known))}"
            )
        everything = sorted({p for fold in folds for side in fold for p in side})
        n_dimensions = len(self._score_shift)
        r: dict[tuple[str, str], Floats] = {}
        lines: dict[tuple[str, str], tuple[Floats, Floats]] = {}
        for block, (n_stats, width) in self._shape.items():
            statistics = {"mean": slice(0, width)}
            if n_stats == 2:
                statistics |= {"sd": slice(width, 2 * width), "both": slice(0, 2 * width)}
            merged = [tuple(_Merged([self._moments[p, block] for p in side]) for side in fold) for fold in folds]
            whole = _Merged([self._moments[p, block] for p in everything])
            for statistic, columns in statistics.items():
                tables = [_validate(train, valid, columns, self.penalties) for train, valid in merged]
                table = _mean_where_defined(tables)
                slope = np.zeros((columns.stop - columns.start, n_dimensions))
                intercept = np.zeros(n_dimensions)
                for k in range(n_dimensions):
                    at, best = _best(table[:, k])
                    if best is not None:
                        slope[:, k], intercept[k] = whole.line(k, columns, self.penalties[at])
                shift = self._shift[block][columns].astype(np.float64)
                r[block, statistic] = table
                lines[block, statistic] = slope, intercept + self._score_shift - shift @ slope
        mean = whole.y_mean() + self._score_shift
        return RidgeResult(self.penalties, r, lines, mean)


class _Merged:
    """Several parts as one; means, covariances and solutions from their sums."""

    def __init__(self, parts: Sequence[_Moments]) -> None:
        self.parts = parts
        self.nk = sum((p.nk for p in parts), start=np.zeros_like(parts[0].nk))
        self._cached: dict[int, tuple[Floats, Floats]] = {}

    def y_mean(self) -> Floats:
        return sum((p.y for p in self.parts), start=np.zeros_like(self.nk)) / np.maximum(self.nk, 1e-300)

    def group(self, k: int) -> int:
        """The first dimension whose labels are missing in the same rows as those of k, in every part."""

        def together(p: _Moments) -> set[int]:
            return set(next(m for m, _ in p.groups if k in m))

        return min(set.intersection(*(together(p) for p in self.parts)))

    def x_moments(self, k: int) -> tuple[Floats, Floats]:
        """(mean_D, covariance_DxD) over the rows where k is valid."""
        lead = self.group(k)
        if lead not in self._cached:
            self._cached.clear()
            n = self.nk[lead]
            mean = sum((p.xk[:, lead] for p in self.parts), start=np.zeros(len(self.parts[0].x))) / n
            gram = sum((p.gram(lead) for p in self.parts[1:]), start=self.parts[0].gram(lead)) / n
            self._cached[lead] = mean, gram - np.outer(mean, mean)
        return self._cached[lead]

    def y_moments(self, k: int, columns: slice, x_mean: Floats) -> tuple[float, float, Floats]:
        """(mean, variance, covariance_D with x) of dimension k."""
        n = self.nk[k]
        y = sum(p.y[k] for p in self.parts) / n
        yy = sum(p.yy[k] for p in self.parts) / n
        xy = sum((p.xy[columns, k] for p in self.parts), start=np.zeros(columns.stop - columns.start)) / n
        return y, max(yy - y * y, 0.0), xy - x_mean * y

    def defined(self, k: int, columns: slice) -> bool:
        """Whether dimension k has at least three rows' weight of labels that vary."""
        if self.nk[k] < 3:
            return False
        return self.y_moments(k, columns, self.x_moments(k)[0][columns])[1] > 1e-9

    def solutions(self, k: int, columns: slice, penalties: Sequence[float]) -> list[Floats]:
        """slope_D of each penalty."""
        mean, cov = (a[(columns,) * a.ndim] for a in self.x_moments(k))
        _, _, covariance = self.y_moments(k, columns, mean)
        variance = np.diag(cov).copy()
        # A column that hardly moves about a far mean has a variance of rounding errors: it says nothing.
        alive = variance > np.maximum(1e-12 * max(float(variance.max()), 1e-300), _ROUNDING * mean**2)
        scale = np.where(alive, 1.0 / np.sqrt(np.where(alive, variance, 1.0)), 0.0)
        correlation = cov * scale[:, None] * scale[None, :]
        np.fill_diagonal(correlation, 1.0)
        return [slope * scale for slope in _ridge(correlation, covariance * scale, penalties)]

    def line(self, k: int, columns: slice, penalty: float) -> tuple[Floats, float]:
        (slope,) = self.solutions(k, columns, [penalty])
        mean = self.x_moments(k)[0][columns]
        return slope, float(self.y_moments(k, columns, mean)[0] - mean @ slope)


def _ridge(correlation: Floats, covariance: Floats, penalties: Sequence[float]) -> list[Floats]:
    """(correlation + penalty · 1)⁻¹ covariance for each penalty.

    From few rows, sums of float32 products leave the correlation a little below zero in some directions, by more than the
    smallest penalty makes up for; then these directions count as zero.
    """
    try:
        return [
            cho_solve(cho_factor(correlation + penalty * np.eye(len(correlation)), lower=True), covariance)
            for penalty in penalties
        ]
    except np.linalg.LinAlgError:
        value, vector = np.linalg.eigh(correlation)
        along = vector.T @ covariance
        return [vector @ (along / (np.maximum(value, 0.0) + penalty)) for penalty in penalties]


def _validate(train: _Merged, valid: _Merged, columns: slice, penalties: Sequence[float]) -> Floats:
    """r (penalty, K) on the validation parts, from moments alone; NaN where undefined."""
    table = np.full((len(penalties), len(train.nk)), np.nan)
    for k in sorted(range(len(train.nk)), key=lambda k: (train.group(k), valid.group(k))):
        if not (train.defined(k, columns) and valid.defined(k, columns)):
            continue
        mean, cov = (a[(columns,) * a.ndim] for a in valid.x_moments(k))
        _, variance, covariance = valid.y_moments(k, columns, mean)
        for i, slope in enumerate(train.solutions(k, columns, penalties)):
            spread = float(slope @ cov @ slope)
            if spread > 1e-12:
                table[i, k] = float(slope @ covariance) / np.sqrt(spread * variance)
    return table
