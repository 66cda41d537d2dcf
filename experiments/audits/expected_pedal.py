"""What it would be worth to expect the pedal: networks that learnt from undegraded playing when a pianist's foot moves.

    python -m keybed.experiments.audits.expected_pedal STORE             4,000 rows of a planned store, made again; 4 min
    python -m keybed.experiments.audits.expected_pedal STORE --rows 8000
    python -m keybed.experiments.audits.expected_pedal STORE --quick     400 rows, to see that it runs

The channels of `expressive` ask of each movement of the pedal what a person thought of: how far from the bass, how long. Here small
networks (`pedal_expectation`) learn it from pristine rows alone: no level of any mistake, no degraded row. Folds never share a
piece. "Cross-fitted" rows are judged by networks that were fitted to the training pieces of their fold, "met" rows by networks that
were fitted to all pieces, their own among them: the difference is what such networks gain by having heard a piece before, and why
networks that come with a tool must not be judged on the music that they were fitted to. A ridge probe reads mean and sd over the
bins. Specific r: partial correlation with the pedal's score given the other six scores, on rows that are not pristine, with 95 %
intervals over pieces.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from keybed.experiments.audits.expressive_families import N_BINS, WINDOW_S, Features, predict
from keybed.experiments.audits.fingerprints import Config, NotEnoughRows, variants_of
from keybed.experiments.audits.pedal_expectation import (
    N_CHANNELS,
    Expectation,
    Layers,
    expected_frames,
    steps_of,
)
from keybed.experiments.audits.specific_r import Judged, mean_gain, specific_r
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.goal import goal_line
from keybed.extract.degrade import Variant
from keybed.extract.encoders import build, describe
from keybed.extract.encoders.base import Clip
from keybed.extract.music.performance import Performance
from keybed.heads.ridge import frame_block
from keybed.store.counted import counted
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import Status

HIDDEN, EPOCHS, STEP_SHARE = 32, 8, 0.25
"""Width of the networks, passes over the steps, and the share of the steps that is used: neighbours are nearly the same."""
LEAST_GAIN = 0.05


WITHOUT, CROSS_FITTED, MET = (
    "expressive",
    "expressive + expected pedal, cross-fitted",
    "expressive + expected pedal, met",
)


@dataclass(frozen=True, eq=False)
class Found:
    """Specific r of pedal by kind of features, and its gain over `expressive` alone."""

    rows: int
    r: dict[str, Interval]
    gain: dict[str, Interval]


def fit(performances: Sequence[Performance], window_s: float = WINDOW_S, seed: int = 0) -> Expectation:
    """Networks that expect the pedal of these undegraded windows. Raises NotEnoughRows where the pedal never moves."""
    rng = np.random.default_rng(seed)
    context, down, moves = [], [], []
    for performance in performances:
        steps = steps_of(performance, window_s)
        kept = rng.random(steps.down.size) < STEP_SHARE
        context.append(steps.context[kept])
        down.append(steps.down[kept])
        moves.append(steps.moves[kept])
    of_all = np.concatenate(context), np.concatenate(down), np.concatenate(moves)
    return Expectation(
        *(_network(of_all[0][of_all[1] == state], of_all[2][of_all[1] == state], seed) for state in (True, False))
    )


def _network(context: NDArray[np.float32], moves: NDArray[np.bool_], seed: int) -> Layers:
    if moves.all() or not moves.any():
        raise NotEnoughRows("the pedal of the given rows never moves; the networks need rows with pedalling")
    model = MLPClassifier(
        hidden_layer_sizes=(HIDDEN,), alpha=1e-3, batch_size=256, learning_rate_init=3e-3, random_state=seed
    )
    for _ in range(EPOCHS):
        model.partial_fit(context, moves, classes=[False, True])
    (inner, outer), (inner_bias, outer_bias) = model.coefs_, model.intercepts_
    return Layers(*(a.astype(np.float32) for a in (inner, inner_bias, outer[:, 0], outer_bias)))


def measure(config: Config, replicates: int = 2_000) -> Found:
    """Probe the rows with and without the expected pedal. Raises NotEnoughRows."""
    rows = [(piece, variant) for piece, variant in variants_of(config) if variant.status == Status.OK]
    pieces = np.array([piece for piece, _ in rows])
    if len(set(pieces.tolist())) < config.folds or len(rows) < 20 * config.folds:
        raise NotEnoughRows(
            f"{config.source}: {counted(len(rows), 'row')} of {counted(len(set(pieces.tolist())), 'piece')}; give at "
            f"least {counted(config.folds, 'piece')} and {counted(20 * config.folds, 'row')}"
        )
    variants = [variant for _, variant in rows]
    tier = np.array([variant.tier for variant in variants])
    features = _encoded(variants, pieces)
    own = np.zeros((len(rows), 2, 2 * N_CHANNELS), np.float32)
    for train, test in GroupKFold(config.folds).split(pieces, groups=pieces):
        networks = fit([variants[i].performance for i in train if tier[i] == 0])
        own[test] = _expected([variants[i] for i in test], networks)
    met = _expected(variants, fit([v.performance for v in variants if v.tier == 0]))
    plain = features.frames_Nx2xW
    blocks = {
        WITHOUT: plain,
        CROSS_FITTED: np.concatenate([plain, own], axis=2),
        MET: np.concatenate([plain, met], axis=2),
        "expected pedal alone, cross-fitted": own,
    }
    predictions = predict(features, blocks, config.folds)
    known = np.flatnonzero(tier > 0)
    judged = Judged(features.score[known], features.valid[known], pieces[known])
    return Found(
        len(rows),
        specific_r(judged, predictions, "pedal", replicates),
        {name: mean_gain(judged, predictions, name, WITHOUT, ("pedal",), replicates) for name in (CROSS_FITTED, MET)},
    )


def _expected(variants: Sequence[Variant], networks: Expectation) -> NDArray[np.float32]:
    frames = np.stack([expected_frames(v.performance, WINDOW_S, N_BINS, networks) for v in variants])
    return frame_block("expected", frames)["expected"]


def _encoded(variants: Sequence[Variant], pieces: NDArray[np.int64]) -> Features:
    expressive = build(*describe("expressive", n_bins=N_BINS, window_s=WINDOW_S))
    pooled = expressive.encode([Clip(np.zeros(0, np.float32), v.performance, WINDOW_S) for v in variants])
    return Features(
        frame_block("frames", pooled.frames.astype(np.float16), pooled.mask)["frames"],
        pooled.layers[:, :, 0],
        np.zeros((len(variants), 0)),
        (),
        np.array([variant.tier for variant in variants]),
        pieces,
        np.array([variant.score for variant in variants]),
        np.array([variant.valid for variant in variants]),
    )


def main() -> None:
    """Print the table and the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="MAESTRO_DIR|STORE")
    parser.add_argument("--rows", type=int, default=4_000, help="rows, four per segment (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="400 rows, to see that it runs")
    given = parser.parse_args()
    try:
        with threadpool_limits(1):
            found = measure(Config(given.source, 400 if given.quick else given.rows), 200 if given.quick else 2_000)
    except KeybedError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
    print(f"specific r of pedal, {counted(found.rows, 'row')}")
    for name, r in found.r.items():
        print(f"  {name:<36}{r.value:6.3f} ({r.low:.3f} to {r.high:.3f})")
    for name, gain in found.gain.items():
        print(f"  {name} less {WITHOUT}: {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})")
    print(
        goal_line("gain in specific r of pedal, cross-fitted", found.gain[CROSS_FITTED].value, LEAST_GAIN, "at least")
    )


if __name__ == "__main__":
    main()
