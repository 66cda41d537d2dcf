"""Fingerprints of the degradation: how far statistics that mean nothing in music tell degraded rows from pristine ones.

    python -m keybed.experiments.audits.fingerprints MAESTRO_DIR               4,000 rows of its MIDI files, no rendering; 2 min
    python -m keybed.experiments.audits.fingerprints STORE --rows 8000         the rows of a planned store, as extraction makes them
    python -m keybed.experiments.audits.fingerprints MAESTRO_DIR --expressive  the channels of `expressive` are controls too; 3 min
    python -m keybed.experiments.audits.fingerprints MAESTRO_DIR --quick       400 rows, to see that it runs

Two sets of measures per row: fingerprints (`fingerprint_statistics`) and musical controls (`musical_controls`). Gradient-boosted
trees and a linear model are trained on folds that never share a piece, on the rows as extraction makes them and again as
`keybed export` writes them (960 ticks a second). AUC: pristine against degraded, 0.5 is chance. Specific r: partial correlation
of the prediction with an axis's score given the other six scores, on rows that are not pristine; "beyond": given the prediction
from the musical controls as well. The better of the two models counts.

A degraded row has mistakes, and many statistics change with mistakes. So the AUC is also given beyond the controls: rows are
grouped by what the controls predict (the log odds of both models, added), and degraded rows are compared only with pristine rows of
their group (covariate-adjusted AUC; H. Janes and M. S. Pepe, Biometrika 96, 2009). Groups of degraded rows have few pristine ones, so
95 % intervals are given, with pieces resampled. "Controls again" is what one model of the controls reaches in these groups: as much
as is left of the music in them. With one model as the measure of the groups, 0.71 was left, more than any fingerprint reached.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import QuantileTransformer
from threadpoolctl import threadpool_limits

from keybed import store as stores
from keybed.experiments.audits.fingerprint_statistics import fingerprint_statistics
from keybed.experiments.audits.musical_controls import musical_controls
from keybed.experiments.goal import goal_line
from keybed.extract.degrade import Variant, draw_levels, make_variant, prepare
from keybed.extract.encoders import build, describe
from keybed.extract.encoders.base import Clip
from keybed.extract.export.archive import from_window_start
from keybed.extract.music.midi import parse_piano, read_midi
from keybed.extract.music.midi_writer import midi_bytes
from keybed.extract.music.performance import Performance
from keybed.extract.run.check_recipe import check_same_code, render_config
from keybed.extract.run.row_maker import RowMaker, segment_jobs
from keybed.heads.metrics import partial_r
from keybed.store.counted import counted
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import AXES, AXIS_DIMENSIONS, TIERS, Status

WINDOW_S, HOP_S, N_BINS = 10.0, 6.2, 20
_NO_AUDIO = np.zeros(0, np.float32)
LARGEST_AUC = 0.60
LARGEST_SPECIFIC_R = 0.10
STRATA = 20
"""Groups of equal size, by what the controls predict, within which the AUC beyond the controls is computed."""
REPLICATES = 200
"""Resamples of the pieces for the interval of the AUC beyond the controls."""
FEWEST_IN_STRATUM = 5
"""A group with fewer pristine or fewer degraded rows is left out."""
HELD_AXES = ("notes", "timing", "articulation", "pedal")
"""The axes whose specific r has a goal. Dynamics and expression change the loudness itself, of which every statistic of velocity knows."""


class NotEnoughRows(KeybedError):
    """Too few rows or pieces for folds by piece."""


@dataclass(frozen=True)
class Config:
    """source: a folder of MIDI files or a store. rows: about this many, spread over the recordings.

    expressive: mean and sd over the window of the channels of `expressive` are musical controls too.
    """

    source: Path
    rows: int = 4_000
    folds: int = 5
    seed: int = 0
    profile: str = "mixed"
    expressive: bool = False


@dataclass(frozen=True, eq=False)
class Table:
    """Measures of n rows: fingerprint_NxF, control_NxC, tier and piece (n,), score_NxA (n, 7) with NaN where not valid."""

    names: tuple[str, ...]
    fingerprint_NxF: NDArray[np.float64]
    control_NxC: NDArray[np.float64]
    tier: NDArray[np.int64]
    piece: NDArray[np.int64]
    score_NxA: NDArray[np.float64]


@dataclass(frozen=True)
class Reach:
    """What one axis's score can be told from: specific r of the fingerprints, of the controls, and of the first beyond the second."""

    fingerprints: float
    controls: float
    beyond: float


@dataclass(frozen=True)
class Findings:
    """AUC by model ("trees", "linear") of the fingerprints, of the controls (and of "both" models), and of the first beyond the
    second with its 95 % interval; what the controls themselves reach beyond the controls; the AUC of single statistics (largest
    first), and the reach by axis."""

    auc: dict[str, float]
    controls_auc: dict[str, float]
    auc_beyond: dict[str, float]
    interval_beyond: dict[str, tuple[float, float]]
    controls_again: float
    single_auc: tuple[tuple[str, float], ...]
    reach: dict[str, Reach]


def variants_of(config: Config) -> Iterator[tuple[int, Variant]]:
    """(piece, variant) of the rows of a store, or of the windows of MIDI files; each file is then a piece of its own folder and name."""
    if (config.source / "recipe.json").exists():
        yield from _of_store(config)
    else:
        yield from _of_midi(config)


def _of_store(config: Config) -> Iterator[tuple[int, Variant]]:
    store = stores.open(config.source)
    check_same_code(store.recipe)
    columns = store.columns(0, store.n_rows)
    piece_of = dict(zip(columns["recording"].tolist(), columns["piece"].tolist(), strict=True))
    maker, jobs = RowMaker(render_config(store, store.machine_paths)), segment_jobs(columns)
    n = min(max(config.rows // len(TIERS), 1), len(jobs))
    for i in range(n):
        job = jobs[i * len(jobs) // n]
        for variant in maker.variants(job):
            yield piece_of[job.recording], variant


def _of_midi(config: Config) -> Iterator[tuple[int, Variant]]:
    files = sorted([*config.source.rglob("*.midi"), *config.source.rglob("*.mid")])
    if not files:
        raise NotEnoughRows(
            f"{config.source}: no MIDI files below it and no recipe.json in it; give MAESTRO or a store"
        )
    segments_each, more = divmod(max(config.rows // len(TIERS), 1), len(files))
    pieces: dict[str, int] = {}
    for recording, path in enumerate(files):
        # MAESTRO's mini set names a file by piece and player: the part before the player is the piece.
        piece = pieces.setdefault(path.stem.rsplit("_", 1)[0], len(pieces))
        chosen = segments_each + (recording * more // len(files) != (recording + 1) * more // len(files))
        if not chosen:
            continue
        prepared = prepare(read_midi(path))
        last = prepared.performance.offset_s[-1] - WINDOW_S
        starts = np.arange(0.0, max(last, 0.1), HOP_S)
        for start_s in np.random.default_rng(recording).permutation(starts)[:chosen].tolist():
            for tier in range(len(TIERS)):
                aim = draw_levels(config.seed, recording, start_s, tier, config.profile)
                yield (
                    piece,
                    make_variant(prepared, start_s, WINDOW_S, aim, seed=config.seed, recording_id=recording, tier=tier),
                )


def as_exported(performance: Performance) -> Performance:
    """The notes and pedal of a row as a reader of its exported MIDI file finds them."""
    return parse_piano(midi_bytes(from_window_start(performance)), "an exported row").performance


def measure(config: Config) -> tuple[Table, Table]:
    """The table of the rows as they are made, and as they are exported. Raises NotEnoughRows."""
    heard = build(*describe("expressive", n_bins=N_BINS, window_s=WINDOW_S)) if config.expressive else None
    rows: list[list[tuple[dict[str, float], list[float]]]] = [[], []]
    tiers, pieces, score = [], [], []
    for piece, variant in variants_of(config):
        if variant.status != Status.OK:
            continue
        for kind, p in enumerate((variant.performance, as_exported(variant.performance))):
            controls = list(musical_controls(p, WINDOW_S).values())
            if heard is not None:
                controls += heard.encode([Clip(_NO_AUDIO, p, WINDOW_S)]).layers.ravel().tolist()
            rows[kind].append((fingerprint_statistics(p, WINDOW_S), controls))
        tiers.append(variant.tier)
        pieces.append(piece)
        score.append(np.where(variant.valid, variant.score, np.nan)[: len(AXES)])
    if len(set(pieces)) < config.folds or len(tiers) < 20 * config.folds:
        raise NotEnoughRows(
            f"{config.source}: {counted(len(tiers), 'row')} of {counted(len(set(pieces)), 'piece')}; "
            f"{counted(config.folds, 'fold')} by piece need at least {counted(config.folds, 'piece')} and "
            f"{counted(20 * config.folds, 'row')}"
        )
    names = tuple(rows[0][0][0])
    made, exported = (
        Table(
            names,
            np.array([list(f.values()) for f, _ in kind]),
            np.array([c for _, c in kind]),
            np.array(tiers),
            np.array(pieces),
            np.array(score),
        )
        for kind in rows
    )
    return made, exported


def detect(table: Table, config: Config, axes: tuple[str, ...] = AXES) -> Findings:
    """Train the detectors of one table on folds by piece, and say what they reach."""
    with threadpool_limits(1):  # OpenMP threads that wait for each other spin, for minutes on a shared machine
        return _detect(table, config, axes)


def _detect(table: Table, config: Config, axes: tuple[str, ...]) -> Findings:
    degraded = (table.tier > 0).astype(np.int64)

    def told(x: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return {name: _out_of_fold(x, degraded, table.piece, name, config) for name in ("trees", "linear")}

    by_fingerprints, by_controls = told(table.fingerprint_NxF), told(table.control_NxC)
    auc, controls_auc = (
        {name: float(roc_auc_score(degraded, score)) for name, score in scores.items()}
        for scores in (by_fingerprints, by_controls)
    )
    given = np.sum([logit(np.clip(p, 1e-6, 1 - 1e-6)) for p in by_controls.values()], axis=0)
    controls_auc["both"] = float(roc_auc_score(degraded, given))
    beyond = {name: adjusted_auc(degraded, score, given) for name, score in by_fingerprints.items()}
    intervals = {
        name: _interval(degraded, score, given, table.piece, config.seed) for name, score in by_fingerprints.items()
    }
    again = max(adjusted_auc(degraded, score, given) for score in by_controls.values())
    single = [float(roc_auc_score(degraded, column)) for column in table.fingerprint_NxF.T]
    ranked = sorted(zip(table.names, single, strict=True), key=lambda pair: -abs(pair[1] - 0.5))
    reach = {axis: _reach(table, AXES.index(axis), config) for axis in axes}
    return Findings(auc, controls_auc, beyond, intervals, again, tuple(ranked), reach)


def adjusted_auc(
    degraded: NDArray[np.integer], score: NDArray[np.float64], given: NDArray[np.float64], n_strata: int = STRATA
) -> float:
    """Mean AUC of `score` within groups of rows with about equal `given`, weighted by their degraded rows; all (n,).

    NaN where every group has fewer than FEWEST_IN_STRATUM rows of one kind.
    """
    total = weight = 0.0
    for rows in np.array_split(np.argsort(given, kind="stable"), n_strata):
        n_degraded = int(degraded[rows].sum())
        if min(n_degraded, rows.size - n_degraded) >= FEWEST_IN_STRATUM:
            total += n_degraded * float(roc_auc_score(degraded[rows], score[rows]))
            weight += n_degraded
    return total / weight if weight else float("nan")


def _interval(
    degraded: NDArray[np.integer],
    score: NDArray[np.float64],
    given: NDArray[np.float64],
    piece: NDArray[np.int64],
    seed: int,
) -> tuple[float, float]:
    """95 % interval of `adjusted_auc`, pieces resampled."""
    of_piece = [np.flatnonzero(piece == p) for p in np.unique(piece)]
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(REPLICATES):
        rows = np.concatenate([of_piece[p] for p in rng.integers(0, len(of_piece), len(of_piece))])
        drawn.append(adjusted_auc(degraded[rows], score[rows], given[rows]))
    known = np.array(drawn)[np.isfinite(drawn)]
    low, high = np.percentile(known, [2.5, 97.5]) if known.size else (np.nan, np.nan)
    return float(low), float(high)


def _reach(table: Table, axis: int, config: Config) -> Reach:
    known = (table.tier > 0) & np.isfinite(table.score_NxA[:, axis])
    score = table.score_NxA[known, axis]
    others = np.delete(table.score_NxA[known], axis, axis=1)
    others = np.where(np.isfinite(others), others, np.nanmean(others, axis=0))
    piece = table.piece[known]

    def predictions(x: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        return [_out_of_fold(x[known], score, piece, f"{name} score", config) for name in ("trees", "linear")]

    def r(prediction: NDArray[np.float64], given: NDArray[np.float64]) -> float:
        return float(partial_r(prediction, score, given) or 0.0)

    controls = predictions(table.control_NxC)
    fingerprints = predictions(table.fingerprint_NxF)
    heard = np.column_stack([others, *controls])
    return Reach(
        max(r(x, others) for x in fingerprints),
        max(r(x, others) for x in controls),
        max(r(x, heard) for x in fingerprints),
    )


def _out_of_fold(
    x: NDArray[np.float64], y: NDArray[np.generic], piece: NDArray[np.int64], kind: str, config: Config
) -> NDArray[np.float64]:
    predicted = np.zeros(y.size)
    for train, test in GroupKFold(config.folds).split(x, y, piece):
        model = _model(kind, config.seed, train.size)
        model.fit(x[train], y[train])
        predicted[test] = model.predict_proba(x[test])[:, 1] if "score" not in kind else model.predict(x[test])
    return predicted


def _model(kind: str, seed: int, n: int) -> HistGradientBoostingClassifier | HistGradientBoostingRegressor | Pipeline:
    trees = {
        "max_iter": 60,
        "learning_rate": 0.1,
        "max_leaf_nodes": 12,
        "max_bins": 63,
        "l2_regularization": 5.0,
        "random_state": seed,
    }
    ranks = QuantileTransformer(n_quantiles=min(200, n), output_distribution="normal", random_state=seed)
    if kind == "trees":
        return HistGradientBoostingClassifier(**trees)
    if kind == "trees score":
        return HistGradientBoostingRegressor(**trees)
    if kind == "linear":
        return make_pipeline(ranks, LogisticRegression(C=0.05, max_iter=500))
    return make_pipeline(ranks, Ridge(alpha=100.0))


def report(findings: Findings, words: str, n: int) -> list[str]:
    """The findings on one table, as lines."""
    lines = [
        f"{words}: AUC of degraded against pristine, {counted(n, 'row')}: "
        + ", ".join(f"{name} {auc:.3f}" for name, auc in findings.auc.items())
        + "; of musical controls: "
        + ", ".join(f"{name} {auc:.3f}" for name, auc in findings.controls_auc.items())
        + "; beyond them: "
        + ", ".join(
            f"{name} {auc:.3f} ({findings.interval_beyond[name][0]:.3f} to {findings.interval_beyond[name][1]:.3f})"
            for name, auc in findings.auc_beyond.items()
        )
        + f"; controls again {findings.controls_again:.3f}",
        f"{words}: single statistics with the largest AUC: "
        + ", ".join(f"{name} {auc:.3f}" for name, auc in findings.single_auc[:10]),
        f"{words}: specific r (partial correlation given the other six scores) of fingerprints, of musical controls, and beyond them",
    ]
    lines += [
        f"  {axis:<13}{r.fingerprints:7.3f}{r.controls:7.3f}{r.beyond:7.3f}" for axis, r in findings.reach.items()
    ]
    return lines


def goals(findings: Findings, words: str) -> list[str]:
    """GOAL lines of one table."""
    lines = [
        goal_line(f"AUC {words}", max(findings.auc.values()), LARGEST_AUC, "at most"),
        goal_line(f"AUC beyond controls, {words}", max(findings.auc_beyond.values()), LARGEST_AUC, "at most"),
    ]
    lines += [
        goal_line(
            f"specific r beyond controls, {axis}, {words}", findings.reach[axis].beyond, LARGEST_SPECIFIC_R, "at most"
        )
        for axis in HELD_AXES
    ]
    return lines


def main() -> None:
    """Print both tables and the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="MAESTRO_DIR|STORE")
    parser.add_argument("--rows", type=int, default=4_000, help="rows, four per segment (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--expressive", action="store_true", help="the channels of `expressive` are controls too")
    parser.add_argument("--quick", action="store_true", help="400 rows, to see that it runs")
    given = parser.parse_args()
    config = Config(given.source, 400 if given.quick else given.rows, seed=given.seed, expressive=given.expressive)
    try:
        tables = measure(config)
    except KeybedError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
    lines = []
    for table, words in zip(tables, ("as made", "as exported"), strict=True):
        findings = detect(table, config)
        print("\n".join(report(findings, words, table.tier.size)), flush=True)
        lines += goals(findings, words)
    print("\n".join(lines))


if __name__ == "__main__":
    assert len(AXES) == len(AXIS_DIMENSIONS)
    main()
