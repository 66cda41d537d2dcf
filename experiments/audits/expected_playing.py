"""What it would be worth to expect the playing: models that learnt pedalling, lengths and velocities from undegraded rows.

    python -m keybed.experiments.audits.expected_playing STORE             all rows of a store that holds `expressive`
    python -m keybed.experiments.audits.expected_playing STORE --no-heads  ridge probes alone

The channels of `expressive` ask of a note or of a movement of the pedal what a person thought of: how far from the bass, how much
longer than its neighbours. The models of `expected` learn from pristine rows what a pianist does with such notes, and say of every
row how far it is from that. They are told no level of any mistake and see no degraded row when they learn.

Here they are fitted anew within the folds, so that no encoder `expected` need be in the store.

Folds are those of Phase 2 and never share a piece. "Cross-fitted" rows are judged by models that were fitted to the pieces of the
other folds, "met" rows by models that were fitted to all pieces, their own among them. The difference is what such models gain by
having heard a piece before: why models that come with a tool must not be judged on the music that they were fitted to.
When a fold is tested, models of cross-fitted training rows have met its undegraded playing; those of "nested" rows have not.

A ridge probe reads mean and sd over the bins; Phase 2's MIDI head reads the bins, with Phase 2's settings. Specific r: partial
correlation with an axis's score given the other six scores, on rows that are not pristine, with 95 % intervals over pieces.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from keybed import store as stores
from keybed.experiments.audits.expressive_families import predict_in_folds
from keybed.experiments.audits.fingerprints import Config, NotEnoughRows, variants_of
from keybed.experiments.audits.specific_r import Judged, mean_gain, specific_r
from keybed.experiments.data.folds import Fold, out_of_fold
from keybed.experiments.evaluation.cross_validation import Budget, compiled_once, head_configs
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.goal import goal_line
from keybed.extract.encoders.base import Clip
from keybed.extract.encoders.expected.encoder import surprise
from keybed.extract.encoders.expected.fit import Playing, fit
from keybed.extract.encoders.expected.models import PlayingModel
from keybed.extract.encoders.expected.spec import CHANNELS
from keybed.extract.music.performance import Performance
from keybed.heads import fitted, train
from keybed.heads.data import ArrayData
from keybed.heads.inputs import HeadInput, from_arrays
from keybed.heads.ridge import frame_block
from keybed.store.counted import counted
from keybed.store.errors import KeybedError
from keybed.store.format.rows import Rows
from keybed.store.read.store import Store

SHOWN_AXES = ("notes", "timing", "articulation", "pedal", "dynamics", "expression")
GOALS = {"articulation": 0.05, "pedal": 0.05, "dynamics": 0.02}
"""Gains in specific r of a ridge probe, nested, that are worth a family of channels."""
WITHOUT, ALONE = "expressive", "expected alone"
CROSS_FITTED, NESTED, MET = GAINED = "with expected, cross-fitted", "with expected, nested", "with expected, met"
_NO_AUDIO = np.zeros(0, np.float32)
Gains = Mapping[str, Mapping[str, Interval]]


@dataclass(frozen=True, eq=False)
class Found:
    """rows: how many. ridge, gain: axis → features → specific r, and its gain over `expressive`. head: features → axis →
    specific r of the MIDI head, the mean of its seeds."""

    rows: int
    ridge: Gains
    gain: Gains
    head: Mapping[str, Mapping[str, float]]


def measure(store: Store, *, seeds: int = 2, replicates: int = 2_000, budget: Budget | None = None) -> Found:
    """Judge all rows of a store. seeds: of the head; 0 leaves it out. Raises NotEnoughRows."""
    window_s, n_bins = float(store.recipe.segments["window_s"]), store.recipe.encoder("expressive").n_bins
    rows = store.rows()
    folds = out_of_fold(rows, 5, seed=0)
    playing = performances_of(store, rows)
    listening, tested = Listening(playing, rows.tier == 0, window_s, n_bins), [fold.test for fold in folds]
    own, met = cross_fitted(listening, tested), listening.blank()
    listening.judge(met, np.arange(len(playing)), listening.model())
    frames = store.read("midi/expressive/frames", rows.index).astype(np.float32)
    mask = store.read("midi/expressive/mask", rows.index)
    kinds = {
        WITHOUT: frames,
        CROSS_FITTED: np.concatenate([frames, own], axis=3),
        MET: np.concatenate([frames, met], axis=3),
        ALONE: own,
    }
    known = np.flatnonzero(rows.tier > 0)
    fold_of = np.zeros(len(rows.tier), np.intp)
    for number, fold in enumerate(folds):
        fold_of[fold.test] = number
    blocks = {name: frame_block("x", x, mask)["x"][known] for name, x in kinds.items()}
    labels = rows.score[known], rows.valid[known]
    predictions = dict(predict_in_folds(blocks, fold_of[known], *labels))
    predictions[NESTED] = np.zeros_like(predictions[WITHOUT])
    for number, of_fold in enumerate(nested(listening, tested, own)):
        block = frame_block("x", np.concatenate([frames, of_fold], axis=3), mask)["x"][known]
        here = fold_of[known] == number
        predictions[NESTED][here] = predict_in_folds({NESTED: block}, fold_of[known], *labels)[NESTED][here]
    judged = Judged(rows.score[known], rows.valid[known], rows.piece[known].astype(np.int64))
    ridge = {axis: specific_r(judged, predictions, axis, replicates) for axis in SHOWN_AXES}
    gain = {
        axis: {name: mean_gain(judged, predictions, name, WITHOUT, (axis,), replicates) for name in GAINED}
        for axis in SHOWN_AXES
    }
    head = {}
    if seeds:
        with compiled_once():
            for name in (WITHOUT, CROSS_FITTED):
                predicted = _head(kinds[name], mask, rows, folds, budget or Budget(seeds=seeds))[:, known]
                of_seeds = {str(seed): of_one.astype(np.float64) for seed, of_one in enumerate(predicted)}
                head[name] = {
                    axis: float(np.mean([r.value for r in specific_r(judged, of_seeds, axis, 10).values()]))
                    for axis in SHOWN_AXES
                }
    return Found(len(rows.tier), ridge, gain, head)


def performances_of(store: Store, rows: Rows) -> list[Performance]:
    """The degraded notes of these rows, made again from the recipe."""
    made = [variant for _, variant in variants_of(Config(store.path, rows=store.n_rows))]
    if len(made) != store.n_rows:
        raise NotEnoughRows(
            f"{store.path}: {counted(len(made), 'row')} made again of {store.n_rows}; every segment needs its four tiers"
        )
    return [made[number].performance for number in rows.index.tolist()]


class Listening:
    """Fits models to some of n rows of playing, and judges rows with them. pristine: bool (n,), the rows to learn from."""

    def __init__(
        self, playing: Sequence[Performance], pristine: NDArray[np.bool_], window_s: float, n_bins: int
    ) -> None:
        self._playing, self._window_s, self._n_bins = playing, window_s, n_bins
        self._pristine = np.flatnonzero(pristine)
        self._learnt = Playing.of([playing[i] for i in self._pristine.tolist()], window_s)

    def blank(self) -> NDArray[np.float32]:
        """Channels of all rows to be filled, float32 (n, bin, 2, channel)."""
        return np.zeros((len(self._playing), self._n_bins, 2, len(CHANNELS)), np.float32)

    def judge(self, out: NDArray[np.float32], judged: NDArray[np.int64], model: PlayingModel) -> None:
        """Fill the channels of the judged rows."""
        for i in judged.tolist():
            first, second = surprise(Clip(_NO_AUDIO, self._playing[i], self._window_s), self._n_bins, model)
            out[i, :, 0], out[i, :, 1] = first[:-1], second[:-1]

    def model(self, *left_out: NDArray[np.int64]) -> PlayingModel:
        """Fitted to the pristine rows that are none of these."""
        return fit(self._learnt, ~np.isin(self._pristine, np.concatenate([np.zeros(0, np.int64), *left_out])))


def cross_fitted(listening: Listening, tested: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
    """Each fold's rows, judged by a model of the others."""
    out = listening.blank()
    for of_fold in tested:
        listening.judge(out, of_fold, listening.model(of_fold))
    return out


def nested(
    listening: Listening, tested: Sequence[NDArray[np.int64]], own: NDArray[np.float32]
) -> list[NDArray[np.float32]]:
    """For each tested fold all rows, by models that met neither the row nor the tested fold. own: from `cross_fitted`."""
    out = [own.copy() for _ in tested]
    for one, other in combinations(range(len(tested)), 2):
        model = listening.model(tested[one], tested[other])
        listening.judge(out[one], tested[other], model)
        listening.judge(out[other], tested[one], model)
    return out


def _head(
    frames: NDArray[np.float32], mask: NDArray[np.bool_], rows: Rows, folds: Sequence[Fold], budget: Budget
) -> NDArray[np.float32]:
    """Out-of-fold predictions of the MIDI head, (seed, row, dimension), with Phase 2's settings."""
    config = budget.fit_config(max(len(fold.train) for fold in folds))

    def batch(positions: NDArray[np.int64]) -> HeadInput:
        return from_arrays(
            midi_frames=frames[positions],
            midi_mask=mask[positions],
            score=rows.score[positions],
            valid=rows.valid[positions],
            segment=rows.segment[positions],
            row=positions,
        )

    out = np.zeros((budget.seeds, len(rows.tier), rows.score.shape[1]), np.float32)
    for fold in folds:
        data = ArrayData(batch(fold.train), batch(fold.validation), config.batch_rows)
        trained = train.fit(head_configs(("midi",), budget, "frames"), data, config)
        parts = [fold.test[i : i + config.batch_rows] for i in range(0, len(fold.test), config.batch_rows)]
        out[:, fold.test] = fitted.predict(trained, [batch(part) for part in parts])["midi"]
    return out


def lines_of(found: Found) -> list[str]:
    """The tables in words and numbers."""
    head = f"{'':<30}" + "".join(f"{axis:>24}" for axis in SHOWN_AXES)
    lines = [f"specific r, {counted(found.rows, 'row')}, 5 folds by piece; ridge probe", head]
    for name in (WITHOUT, *GAINED, ALONE):
        each = (found.ridge[axis][name] for axis in SHOWN_AXES)
        lines.append(f"{name:<30}" + "".join(f"{f'{r.value:.3f} ({r.low:.3f}–{r.high:.3f})':>24}" for r in each))
    for name in GAINED:
        each = (found.gain[axis][name] for axis in SHOWN_AXES)
        lines.append(
            f"{'  gain, ' + name:<30}" + "".join(f"{f'{r.value:+.3f} ({r.low:+.3f}–{r.high:+.3f})':>24}" for r in each)
        )
    for name, values in found.head.items():
        lines.append(f"{'MIDI head, ' + name:<42}" + "".join(f"{axis} {values[axis]:.3f}  " for axis in SHOWN_AXES))
    return lines


def main() -> None:
    """Print the tables and the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, help="folder of the store")
    parser.add_argument("--seeds", type=int, default=2, help="seeds of the head (default %(default)s)")
    parser.add_argument("--no-heads", action="store_true", help="only the ridge probes")
    given = parser.parse_args()
    try:
        with threadpool_limits(1):
            found = measure(stores.open(given.store), seeds=0 if given.no_heads else given.seeds)
    except KeybedError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
    print("\n".join(lines_of(found)))
    for axis, target in GOALS.items():
        print(goal_line(f"gain in specific r of {axis}, nested", found.gain[axis][NESTED].value, target, "at least"))


if __name__ == "__main__":
    main()
