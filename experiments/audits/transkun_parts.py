"""What the states and token groups of `transkun` show of each axis, beside the store's other encoders and together with them.

    python -m keybed.experiments.audits.transkun_parts STORE         a store with transkun, logmel and expressive; minutes

Ridge regression on mean and standard deviation over the window (states, token groups) or over bins (frames), on rows that are not
pristine. Folds never share a piece, and the penalty is chosen on a third of the training pieces. Encoders side by side weigh alike: their Gram matrices are divided by their
traces and added. "Specialists" takes, axis by axis, the encoder that did better on that third. Specific r: partial correlation
given the other six scores, with 95 % intervals over pieces.

Where the store has `transcribed` as well, its notes take the place of the true ones ("transkun + transcribed": all from audio), and
a table says how well the transcription agrees with the notes where an axis is good (its score 90 or more) and poor (below 60).

Transkun was trained on recordings of MAESTRO's training split. The last table has its specific r on pieces of each split.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from keybed import store as stores
from keybed.experiments.audits.specific_r import Judged, mean_gain, specific_r
from keybed.experiments.data.folds import grouped_folds
from keybed.extract.encoders.transcribed.fidelity import MEASURES
from keybed.heads.ridge import frame_block
from keybed.store.counted import counted
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import AXES, SPLITS
from keybed.store.read.store import Store

FOLDS, INNER_FOLDS = 5, 3
PENALTIES = tuple(float(10.0**k) for k in range(-4, 3))
"""Multiples of the mean eigenvalue of the training rows' Gram matrix."""
TOKENS = ("keys mean", "keys sd", "spectrum mean", "spectrum sd", "aggregate", "pedal")
CUT = ("keys mean", "spectrum mean", "pedal")
"""The token groups of the 768-wide cut."""
MIDDLE_STATE = 4
GOOD, POOR = 90.0, 60.0
"""Scores that bound the rows on which the transcription's agreement is compared."""
REPLICATES = 1_000
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rows:
    """The judged rows: blocks of features by name (n, width), labels, the index into SPLITS of each row, and its
    `MEASURES` of the transcription (n, measure), or None without `transcribed`."""

    blocks: Mapping[str, NDArray[np.float32]]
    judged: Judged
    split: NDArray[np.int64]
    measures: NDArray[np.float32] | None


def measure(store: Store, *, allow_missing: bool = False) -> Rows:
    """Features of the rows that are not pristine."""
    rows = store.rows(tiers=("good", "moderate", "poor"), allow_missing=allow_missing)
    blocks: dict[str, NDArray[np.float32]] = {}

    def layers(encoder: str) -> NDArray[np.float32]:
        read = store.read(f"{store.recipe.encoder(encoder).group}/layers", rows.index)
        return np.asarray(read, np.float32)

    states = layers("transkun")  # (row, mean and sd over time, state, width)
    for state in range(states.shape[2]):
        blocks[f"transkun state {state}"] = states[:, :, state].reshape(len(rows), -1)
    middle = states[:, :, MIDDLE_STATE].reshape(len(rows), 2, len(TOKENS), -1)
    for number, name in enumerate(TOKENS):
        blocks[f"{name} of state {MIDDLE_STATE}"] = middle[:, :, number].reshape(len(rows), -1)
    cut = [TOKENS.index(name) for name in CUT]
    blocks[f"768-wide cut of state {MIDDLE_STATE}"] = middle[:, :, cut].reshape(len(rows), -1)
    for spec in store.recipe.encoders:
        frames = store.read(f"{spec.group}/frames", rows.index)
        mask = store.read(f"{spec.group}/mask", rows.index) if spec.has_mask else None
        name = f"{spec.name} frames" if spec.name == "transkun" else spec.name
        blocks[name] = frame_block(name, frames, mask)[name].reshape(len(rows), -1)
    judged = Judged(rows.score, rows.valid, rows.piece.astype(np.int64))
    transcription = next((spec for spec in store.recipe.encoders if spec.name == "transcribed"), None)
    measures = None
    if transcription is not None:
        measures = np.asarray(store.read(f"{transcription.group}/measures", rows.index), np.float32)
    return Rows(blocks, judged, rows.split.astype(np.int64), measures)


def predict(rows: Rows, together: Mapping[str, tuple[str, ...]]) -> tuple[dict[str, Matrix], dict[str, Matrix]]:
    """Out-of-fold predictions (n, 8) by model, and the validation error (fold, axis) that chose each penalty.

    together: name of a model → the blocks that it reads side by side.
    """
    fold = grouped_folds(rows.judged.piece, FOLDS)
    predictions = {name: np.zeros(rows.judged.score.shape) for name in together}
    errors = {name: np.zeros((FOLDS, rows.judged.score.shape[1])) for name in together}
    for k in range(FOLDS):
        train, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        grams = {name: _gram(x, train) for name, x in rows.blocks.items()}
        inner = grouped_folds(rows.judged.piece[train], INNER_FOLDS)
        fitted, held = np.flatnonzero(inner != 0), np.flatnonzero(inner == 0)
        score = np.where(rows.judged.valid, rows.judged.score, np.nan).astype(np.float64)
        score = np.where(np.isfinite(score), score, np.nanmean(score[train], axis=0))
        for name, members in together.items():
            gram = sum((grams[member] for member in members), np.zeros_like(next(iter(grams.values()))))
            paths = np.stack(list(_ridge(gram, train[fitted], train[held], score, PENALTIES)))
            error = ((paths - score[train[held]]) ** 2 * rows.judged.valid[train[held]]).mean(1)
            best = error.argmin(0)
            errors[name][k] = error.min(0)
            final = np.stack(list(_ridge(gram, train, test, score, PENALTIES)))
            predictions[name][test] = np.take_along_axis(final, best[None, None], axis=0)[0]
    return predictions, errors


def specialists(predictions: Mapping[str, Matrix], errors: Mapping[str, Matrix], rows: Rows) -> Matrix:
    """Axis by axis and fold by fold, the model whose validation error is smaller."""
    fold = grouped_folds(rows.judged.piece, FOLDS)
    better = np.argmin(np.stack(list(errors.values())), axis=0)
    return np.asarray(np.take_along_axis(np.stack(list(predictions.values())), better[fold][None], axis=0)[0])


def _gram(x: NDArray[np.float32], train: NDArray[np.intp]) -> Matrix:
    mean, sd = x[train].mean(0, dtype=np.float64), x[train].std(0, dtype=np.float64)
    kept = sd > 1e-6 * np.maximum(np.abs(mean), 1e-6)
    z = ((x[:, kept] - mean[kept]) / sd[kept]).astype(np.float32)
    gram = (z @ z.T).astype(np.float64)
    return np.asarray(gram / np.trace(gram[np.ix_(train, train)]))


def _ridge(
    gram: Matrix, train: NDArray[np.intp], test: NDArray[np.intp], score: Matrix, penalties: tuple[float, ...]
) -> Iterator[Matrix]:
    eigenvalue, vector = np.linalg.eigh(gram[np.ix_(train, train)])
    eigenvalue = np.maximum(eigenvalue, 0.0)
    mean = score[train].mean(0)
    weight, reach = vector.T @ (score[train] - mean), gram[np.ix_(test, train)] @ vector
    for penalty in penalties:
        yield mean + reach @ (weight / (eigenvalue + penalty * eigenvalue.mean())[:, None])


def lines(rows: Rows) -> Iterator[str]:
    """The tables."""
    pairs = {
        "transkun + expressive": ("transkun frames", "expressive"),
        "logmel + expressive": ("logmel", "expressive"),
        "768-wide cut + expressive": (f"768-wide cut of state {MIDDLE_STATE}", "expressive"),
        "transkun + logmel + expressive": ("transkun frames", "logmel", "expressive"),
    }
    if "transcribed" in rows.blocks:
        pairs |= {
            f"{audio.split()[0]} + transcribed": (audio, "transcribed") for audio in ("transkun frames", "logmel")
        }
    predictions, errors = predict(rows, {name: (name,) for name in rows.blocks} | pairs)
    for audio in ("transkun frames", "logmel"):
        both = (audio, "expressive")
        predictions[f"specialists of {audio.split()[0]} and expressive"] = specialists(
            {name: predictions[name] for name in both}, {name: errors[name] for name in both}, rows
        )
    by_axis = {axis: specific_r(rows.judged, predictions, axis, REPLICATES) for axis in AXES}
    yield f"specific r, {counted(len(rows.split), 'row')} of {counted(len(np.unique(rows.judged.piece)), 'piece')}, not pristine"
    yield f"{'':<38}" + "".join(f"{axis:>14}" for axis in AXES) + f"{'mean':>8}"
    for name in predictions:
        values = [by_axis[axis][name].value for axis in AXES]
        yield f"{name:<38}" + "".join(f"{value:14.3f}" for value in values) + f"{np.mean(values):8.3f}"
        if name in ("transkun frames", "logmel", "expressive", "transcribed", *pairs):
            bounds = (by_axis[axis][name] for axis in AXES)
            yield f"{'  95 %':<38}" + "".join(f"{f'{b.low:.2f} to {b.high:.2f}':>14}" for b in bounds)
    for audio in ("transkun", "logmel"):
        for axes, words in ((AXES, "all axes"), (tuple(a for a in AXES if a != "tone"), "without tone")):
            fused, apart = f"{audio} + expressive", f"specialists of {audio} and expressive"
            for base in (apart, "expressive"):
                gain = mean_gain(rows.judged, predictions, fused, base, axes, REPLICATES)
                yield f"{fused} less {base}, {words}: {gain.value:+.3f} ({gain.low:.3f} to {gain.high:.3f})"
    if "transcribed" in rows.blocks:
        for fused, base in (
            ("transkun + transcribed", "transkun frames"),
            ("transcribed", "transkun frames"),
            ("transcribed", "expressive"),
        ):
            gain = mean_gain(rows.judged, predictions, fused, base, AXES, REPLICATES)
            yield f"{fused} less {base}, all axes: {gain.value:+.3f} ({gain.low:.3f} to {gain.high:.3f})"
    if rows.measures is not None:
        yield from agreement_lines(rows.judged, rows.measures)
    for number, split in enumerate(SPLITS):
        chosen = rows.split == number
        if len(np.unique(rows.judged.piece[chosen])) < 2:
            continue
        part = Judged(rows.judged.score[chosen], rows.judged.valid[chosen], rows.judged.piece[chosen])
        own = {name: predictions[name][chosen] for name in ("transkun frames", "expressive")}
        of_part = {axis: specific_r(part, own, axis, REPLICATES) for axis in AXES}
        for name in own:
            each = " ".join(f"{axis} {of_part[axis][name].value:.3f}" for axis in AXES)
            mean = np.mean([of_part[axis][name].value for axis in AXES])
            yield f"{split}, {counted(int(chosen.sum()), 'row')}, {name}: {each}, mean {mean:.3f}"


def agreement_lines(judged: Judged, measures: NDArray[np.float32]) -> Iterator[str]:
    """Mean measures of the transcription (n, measure) over the rows where each axis is good and where it is poor."""
    yield "mean agreement of the transcription with the notes, where the score of an axis is at least 90 and below 60"
    yield f"{'':<16}" + "".join(f"{name:>20}" for name in MEASURES)
    for number, axis in enumerate(AXES):
        known = judged.valid[:, number].astype(bool)
        good, poor = (known & side for side in (judged.score[:, number] >= GOOD, judged.score[:, number] < POOR))
        if not (good.any() and poor.any()):
            continue
        sides = zip(_means(measures[good]), _means(measures[poor]), strict=True)
        yield f"{axis:<16}" + "".join(f"{f'{a:.2f} to {b:.2f}':>20}" for a, b in sides)


def _means(measures: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean of each measure over the rows where it could be measured; NaN where none could."""
    known = np.isfinite(measures)
    total = np.where(known, measures, 0.0).sum(0, dtype=np.float64)
    return np.asarray(np.divide(total, known.sum(0), out=np.full(total.size, np.nan), where=known.any(0)))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, metavar="STORE")
    parser.add_argument("--allow-missing", action="store_true", help="use what is committed of an unfinished store")
    given = parser.parse_args()
    try:
        rows = measure(stores.open(given.store), allow_missing=given.allow_missing)
    except (KeybedError, KeyError) as error:
        raise SystemExit(f"{type(error).__name__}: {error.args[0]}") from error
    with threadpool_limits(1):
        print("\n".join(lines(rows)))


if __name__ == "__main__":
    main()
