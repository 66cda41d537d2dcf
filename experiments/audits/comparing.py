"""How well performances of the same notes are told apart by scores given one by one, and by comparing.

    python -m keybed.experiments.audits.comparing RUN               a run of Phase 2; half a minute for 8,000 rows
    python -m keybed.experiments.audits.comparing RUN --store STORE

The variants of a segment are performances of the same notes; here those that are not pristine. Each line is specific r (partial
correlation given the other six scores) with 95 % intervals over pieces: of the head's scores with the labels; of the head's
scores minus their mean over the segment's degraded variants with the labels minus theirs; and of a ridge that was fitted to
differences. All lines are of the same rows. Every piece is predicted by heads and ridges that did not train on it, in the run's
own folds; the ridge trains and validates on the pieces that the fold does not test.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from keybed.experiments.audits.specific_r import Judged, mean_gain, specific_r
from keybed.experiments.data.features import Features
from keybed.experiments.data.folds import grouped_folds
from keybed.experiments.data.view import View
from keybed.experiments.evaluation.difference_ridge import (
    SOURCES,
    Differences,
    fit_difference_ridge,
    less_segment_mean,
)
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.saved_predictions import SavedPredictions, load_predictions
from keybed.experiments.scoring.run_files import open_run
from keybed.heads.errors import HeadsError
from keybed.store.counted import counted
from keybed.store.errors import KeybedError
from keybed.store.format.rows import Rows
from keybed.store.format.vocabulary import AXES

ONE_BY_ONE, THEIR_DIFFERENCES = "scores one by one", "their differences"
WITHOUT_TONE = tuple(axis for axis in AXES if axis != "tone")
_PARTS = 6
"""One of so many parts of the pieces that are not tested chooses the ridge's penalties."""


@dataclass(frozen=True, eq=False)
class ComparingResult:
    """rows: number of rows, none pristine. r: line → axis → specific r. gain: of each ridge over the differences of the head's scores, mean
    over the axes without tone."""

    rows: int
    r: Mapping[str, Mapping[str, Interval]]
    gain: Mapping[str, Interval]


def measure(
    features: Features, saved: SavedPredictions, head: str = "gated", replicates: int = 1000
) -> ComparingResult:
    """Measure the tested rows of a run. features: frames of its pair. Raises KeybedError for a head that the run does not have."""
    if head not in saved.by_model:
        raise KeybedError(f"the run has no head {head!r}; it has {', '.join(saved.by_model)}")
    rows, view = features.rows, features.view
    ridge = ridges(features, saved)
    degraded = rows.tier[ridge.position] > 0
    position, valid = ridge.position[degraded], ridge.valid[degraded]
    segment, piece = rows.segment[position], rows.piece[position].astype(np.int64)
    at = {int(row): i for i, row in enumerate(saved.index)}
    level = saved.by_model[head].mean(axis=0)[[at[int(row)] for row in rows.index[position]]].astype(np.float64)
    levels = Judged(rows.score[position], valid, piece)
    differences = Judged(less_segment_mean(ridge.score[degraded], segment).astype(np.float32), valid, piece)
    predicted = {THEIR_DIFFERENCES: less_segment_mean(level, segment)}
    predicted |= {ridge_on(view, s): less_segment_mean(ridge.predicted[s][degraded], segment) for s in SOURCES}
    r: dict[str, dict[str, Interval]] = {name: {} for name in (ONE_BY_ONE, *predicted)}
    for axis in AXES:
        r[ONE_BY_ONE][axis] = specific_r(levels, {ONE_BY_ONE: level}, axis, replicates)[ONE_BY_ONE]
        for name, value in specific_r(differences, predicted, axis, replicates).items():
            r[name][axis] = value
    gain = {
        name: mean_gain(differences, predicted, name, THEIR_DIFFERENCES, WITHOUT_TONE, replicates)
        for name in (ridge_on(view, source) for source in SOURCES[1:])
    }
    return ComparingResult(int(degraded.sum()), r, gain)


def ridge_on(view: View, source: str) -> str:
    """The name of a difference ridge's line."""
    read = {"audio": view.audio, "midi": view.midi, "both": f"{view.audio} and {view.midi}"}[source]
    return f"difference ridge on {read}"


def ridges(features: Features, saved: SavedPredictions) -> Differences:
    """Differences of all tested rows, each predicted by a ridge that did not train on its piece."""
    rows = features.rows
    parts = []
    for number in np.unique(saved.fold):
        test = _positions(rows, saved.index[saved.fold == number])
        others = np.flatnonzero(~np.isin(rows.piece, rows.piece[test]) & ~rows.held_out)
        pieces = len(np.unique(rows.piece[others]))
        if pieces < 2:
            raise KeybedError(
                f"fold {number} tests {counted(len(test), 'row')}; no row of another piece, or of one only, is left to learn from"
            )
        part = grouped_folds(rows.piece[others], min(_PARTS, pieces))
        parts.append(fit_difference_ridge(features, others[part != 0], others[part == 0]).differences(features, test))
    return Differences.joined(parts)


def _positions(rows: Rows, index: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.flatnonzero(np.isin(rows.index, index))


def lines_of(result: ComparingResult) -> list[str]:
    """The table in words and numbers."""
    width = max(map(len, result.r)) + 2
    lines = [f"specific r, {counted(result.rows, 'row')}", " " * width + "".join(f"{axis:>24}" for axis in AXES)]
    for name, each in result.r.items():
        cells = (f"{r.value:.3f} ({r.low:.3f}–{r.high:.3f})" for r in each.values())
        lines.append(f"{name:<{width}}" + "".join(f"{cell:>24}" for cell in cells))
    lines += [
        f"{name}, minus the differences of the head's scores, mean without tone: {g.value:+.3f} ({g.low:+.3f} to {g.high:+.3f})"
        for name, g in result.gain.items()
    ]
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run of Phase 2")
    parser.add_argument("--store", type=Path, help="its store, where the run does not find it")
    parser.add_argument("--head", default="gated", help="the head that is compared (default %(default)s)")
    given = parser.parse_args()
    try:
        with threadpool_limits(1):
            files = open_run(given.run, given.store)
            features = Features(files.store, View(files.view.audio, files.view.midi), files.rows)
            result = measure(features, load_predictions(given.run), given.head)
    except (KeybedError, HeadsError) as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
    print("\n".join(lines_of(result)))


if __name__ == "__main__":
    main()
