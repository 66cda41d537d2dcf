"""Which family of `expressive` channels lifts which axis, and how far they tell degraded rows from pristine ones.

    python -m keybed.experiments.audits.expressive_families MAESTRO_DIR             4,000 rows of its MIDI files, no rendering; 5 min
    python -m keybed.experiments.audits.expressive_families STORE --rows 8000       the rows of a planned store, made again
    python -m keybed.experiments.audits.expressive_families MAESTRO_DIR --quick     400 rows, to see that it runs

A ridge probe reads mean and standard deviation over bins of `frames`; its penalty is chosen inside the training folds. Folds never
share a piece. Specific r: partial correlation of the prediction with an axis's score given the other six scores, on rows that are
not pristine, with 95 % intervals over pieces. Rows: the first family alone (the 28 channels of code version 3), with each other
family, and all; then each family alone.

The detector of `fingerprints` is then given the families in place of its statistics (AUC of degraded against pristine: mistakes
that are heard count), and the families as musical controls of its statistics (what these reach beyond them).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold
from threadpoolctl import threadpool_limits

from keybed.experiments.audits.fingerprint_statistics import fingerprint_statistics
from keybed.experiments.audits.fingerprints import Config, NotEnoughRows, Table, detect, variants_of
from keybed.experiments.audits.specific_r import Judged, specific_r
from keybed.experiments.goal import goal_line
from keybed.extract.encoders import build, describe
from keybed.extract.encoders.base import Clip
from keybed.extract.encoders.baselines.expressive import CHANNELS, FAMILIES
from keybed.heads.ridge import RidgeProbe, frame_block
from keybed.store.counted import counted
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import AXES, Status

WINDOW_S, N_BINS = 10.0, 20
SHOWN_AXES = tuple(axis for axis in AXES if axis != "tone")
GOALS = {"notes": 0.57, "articulation": 0.57, "pedal": 0.42, "expression": 0.44}
"""What a trial of such features reached on 4,000 rows."""
Blocks = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Features:
    """n rows. frames_Nx2xW: mean and sd over bins. layers_Nx2xC: over the window. fingerprint_NxF. score, valid: (n, 8)."""

    frames_Nx2xW: NDArray[np.float32]
    layers_Nx2xC: NDArray[np.float32]
    fingerprint_NxF: NDArray[np.float64]
    fingerprint_names: tuple[str, ...]
    tier: NDArray[np.int64]
    piece: NDArray[np.int64]
    score: NDArray[np.float32]
    valid: NDArray[np.bool_]

    def block(self, names: tuple[str, ...]) -> NDArray[np.float32]:
        """The frames of these channels, (n, 2, 2 · channels)."""
        columns = np.array([CHANNELS.index(name) for name in names])
        return self.frames_Nx2xW[:, :, np.concatenate([columns, columns + len(CHANNELS)])]


def measure(config: Config) -> Features:
    """Encode the rows of a store or of MIDI files. Raises NotEnoughRows."""
    variants = [(piece, variant) for piece, variant in variants_of(config) if variant.status == Status.OK]
    pieces = np.array([piece for piece, _ in variants])
    if len(set(pieces.tolist())) < config.folds or len(variants) < 20 * config.folds:
        raise NotEnoughRows(
            f"{config.source}: {counted(len(variants), 'row')} of {counted(len(set(pieces.tolist())), 'piece')}; give at "
            f"least {counted(config.folds, 'piece')} and {counted(20 * config.folds, 'row')}"
        )
    performances = [variant.performance for _, variant in variants]
    expressive = build(*describe("expressive", n_bins=N_BINS, window_s=WINDOW_S))
    pooled = expressive.encode([Clip(np.zeros(0, np.float32), p, WINDOW_S) for p in performances])
    frames = pooled.frames.astype(np.float16)  # as the store keeps them
    statistics = [fingerprint_statistics(p, WINDOW_S) for p in performances]
    return Features(
        frame_block("frames", frames, pooled.mask)["frames"],
        pooled.layers[:, :, 0].astype(np.float16).astype(np.float32),
        np.array([list(s.values()) for s in statistics]),
        tuple(statistics[0]),
        np.array([variant.tier for _, variant in variants]),
        pieces,
        np.array([variant.score for _, variant in variants]),
        np.array([variant.valid for _, variant in variants]),
    )


def blocks_of(features: Features) -> Blocks:
    """What is probed, by name."""
    first = FAMILIES["first"]
    later = [name for name in FAMILIES if name != "first"]
    return {
        "first": features.block(first),
        **{f"first + {name}": features.block((*first, *FAMILIES[name])) for name in later},
        "all": features.block(CHANNELS),
        **{f"{name} alone": features.block(FAMILIES[name]) for name in later},
    }


def predict(features: Features, blocks: Blocks, folds: int) -> Mapping[str, NDArray[np.float64]]:
    """Out-of-fold predictions of the rows that are not pristine, (row, 8), by block."""
    known = np.flatnonzero(features.tier > 0)
    fold = np.zeros(known.size, np.intp)
    for number, (_, test) in enumerate(GroupKFold(folds).split(known, groups=features.piece[known])):
        fold[test] = number
    of_known = {name: values[known] for name, values in blocks.items()}
    return predict_in_folds(of_known, fold, features.score[known], features.valid[known])


def predict_in_folds(
    blocks: Blocks, fold: NDArray[np.intp], score: NDArray[np.float32], valid: NDArray[np.bool_]
) -> Mapping[str, NDArray[np.float64]]:
    """Ridge predictions (n, 8) by block, blocks (n, 2, width); fold (n,): the fold that tests each row, and chooses the
    penalty for the others in turn."""
    numbers = range(int(fold.max()) + 1)
    part = np.array([f"fold {number}" for number in fold])
    predictions = {}
    for name, x in blocks.items():
        probe = RidgeProbe()
        probe.add(part, {name: x}, score, valid)
        predicted = np.zeros(score.shape)
        for number in numbers:
            rest = [f"fold {other}" for other in numbers if other != number]
            solved = probe.solve([([p for p in rest if p != chosen], [chosen]) for chosen in rest])
            predicted[fold == number] = solved.predict({name: x[fold == number]})
        predictions[name] = predicted
    return predictions


def detector_lines(features: Features, config: Config) -> list[str]:
    """AUC of the detector on each family, and what the fingerprints reach beyond all channels."""

    def table(measures: NDArray[np.float64], controls: NDArray[np.float64]) -> Table:
        names = tuple(str(i) for i in range(measures.shape[1]))
        score = np.where(features.valid, features.score, np.nan)[:, : len(AXES)].astype(np.float64)
        return Table(names, measures, controls, features.tier, features.piece, score)

    everything = features.layers_Nx2xC.reshape(len(features.tier), -1).astype(np.float64)
    lines = ["AUC of degraded against pristine (mistakes that are heard count):"]
    sets = {name: np.array([CHANNELS.index(channel) for channel in family]) for name, family in FAMILIES.items()}
    for name, columns in {**sets, "all": np.arange(len(CHANNELS))}.items():
        own = features.layers_Nx2xC[:, :, columns].reshape(len(features.tier), -1).astype(np.float64)
        auc = detect(table(own, own[:, :1]), config, ()).auc
        lines.append(f"  {name:<15}" + ", ".join(f"{model} {value:.3f}" for model, value in auc.items()))
    findings = detect(table(features.fingerprint_NxF, everything), config)
    lines.append("fingerprints: " + ", ".join(f"AUC of {model} {value:.3f}" for model, value in findings.auc.items()))
    lines.append(
        "specific r of fingerprints, of all channels in the detector's models, and of the first beyond the second:"
    )
    lines += [
        f"  {axis:<13}{r.fingerprints:7.3f}{r.controls:7.3f}{r.beyond:7.3f}" for axis, r in findings.reach.items()
    ]
    return lines


def main() -> None:
    """Print the table, the detector's results and the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="MAESTRO_DIR|STORE")
    parser.add_argument("--rows", type=int, default=4_000, help="rows, four per segment (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-detector", action="store_true", help="only the ridge probes")
    parser.add_argument("--quick", action="store_true", help="400 rows, to see that it runs")
    given = parser.parse_args()
    config = Config(given.source, 400 if given.quick else given.rows, seed=given.seed)
    try:
        features = measure(config)
    except KeybedError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
    with threadpool_limits(1):
        predictions = predict(features, blocks_of(features), config.folds)
        known = features.tier > 0
        judged = Judged(features.score[known], features.valid[known], features.piece[known])
        table = {axis: specific_r(judged, predictions, axis, 200 if given.quick else 2_000) for axis in SHOWN_AXES}
        print(f"specific r, {counted(len(features.tier), 'row')}, {counted(config.folds, 'fold')} by piece")
        print(f"{'':<22}" + "".join(f"{axis:>14}" for axis in SHOWN_AXES))
        for name in predictions:
            print(f"{name:<22}" + "".join(f"{table[axis][name].value:14.3f}" for axis in SHOWN_AXES))
        for name in ("first", "all"):
            bounds = (table[axis][name] for axis in SHOWN_AXES)
            print(
                f"{'95 % of ' + name:<22}" + "".join(f"{f'{b.low:.2f}–{b.high:.2f}':>14}" for b in bounds), flush=True
            )
        if not given.no_detector:
            print("\n".join(detector_lines(features, config)))
    for axis, target in GOALS.items():
        print(goal_line(f"specific r of all channels, {axis}", table[axis]["all"].value, target, "at least"))


if __name__ == "__main__":
    main()
