"""Measures of several alignment objectives on the same test rows, each paired with the first one, intervals over pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.features import Features, Positions, other_variant
from keybed.experiments.data.folds import Fold
from keybed.experiments.evaluation import ablation_results as names
from keybed.experiments.evaluation import diagnostics
from keybed.experiments.evaluation.ablation_results import CodewordUse
from keybed.experiments.evaluation.alignment import Embeddings
from keybed.experiments.evaluation.alignment_measures import AlignmentOfPieces
from keybed.experiments.evaluation.alignment_rows import bin_hits, own_variant_hits, partner_ranks
from keybed.experiments.evaluation.cross_validation import scored_rows
from keybed.experiments.evaluation.inspection import sample
from keybed.experiments.evaluation.intervals import Interval, intervals
from keybed.experiments.evaluation.predictions import Correlations, over_dimensions, over_seeds
from keybed.experiments.evaluation.ridge_probe import MOST_ROWS, fit_line
from keybed.heads import align
from keybed.heads.inputs import MODALITIES
from keybed.heads.ridge import frame_block
from keybed.store.format.rows import Rows

Floats = NDArray[np.float64]
SHARES = (names.BINS, names.OWN, names.OWN_BY_BINS, names.R1, names.R10, names.AUC)
"""Measures between 0 and 1: so are the ends of their intervals."""
SMALLEST_RAW = 0.02
"""Below this specific r of the raw features, retention is a quotient of noise and undefined."""
MOST_PAIRED = 4096
"""Rows of a fold whose mismatch logits are compared, each with each."""


@dataclass(frozen=True, eq=False)
class MeasuredFold:
    """One objective's test rows of one fold and seed. by_row: measure -> value of each row, NaN where it has none.

    logits: of own notes and of another variant's, (row, 2), NaN in rows without another; None without the detector.
    """

    embeddings: Embeddings
    by_row: dict[str, Floats]
    logits: Floats | None
    ridge: NDArray[np.float32]
    codewords: dict[str, CodewordUse] | None
    states: dict[str, tuple[float, ...]] | None


def measure_fold(
    result: align.AlignResult, features: Features, fold: Fold, seed_index: int
) -> tuple[MeasuredFold, dict[str, Floats]]:
    """Everything about one fold's test rows, and the chance levels of its rows."""
    step, rows = result.config.fit.batch_rows, features.rows
    reference = align.project(result, features.batches(sample(fold.train), step), seed_index=seed_index)
    parts = [out for _, out in align.sides(result, features.batches(fold.test, step), seed_index=seed_index)]

    def joined(modality: str, field: str) -> np.ndarray:
        return np.concatenate([getattr(part[modality], field) for part in parts])

    audio, midi = (
        diagnostics.unit(joined(m, "clip_BxD"), mean.astype(np.float64).mean(0))
        for m, mean in zip(MODALITIES, reference, strict=True)
    )
    mask = joined("audio", "mask_BxT") & joined("midi", "mask_BxT")
    bins = {m: _unit_bins(joined(m, "frame_BxTxD"), mask) for m in MODALITIES}
    segment, piece = rows.segment[fold.test], rows.piece[fold.test]
    own, chance_own = own_variant_hits(audio, midi, segment)
    flat = [bins[m].reshape(len(mask), -1) for m in MODALITIES]
    within, chance_within = bin_hits(bins["audio"], bins["midi"], mask)
    ranks = [partner_ranks(x, y, piece)[0] for x, y in ((audio, midi), (midi, audio))]
    by_row = {
        names.BINS: within,
        names.OWN: own,
        names.OWN_BY_BINS: own_variant_hits(flat[0], flat[1], segment)[0],
        names.R1: np.mean([rank < 1 for rank in ranks], axis=0),
        names.R10: np.mean([rank < 10 for rank in ranks], axis=0),
    }
    n = len(fold.test)
    chance = {names.BINS: chance_within, names.OWN: chance_own, names.OWN_BY_BINS: chance_own}
    chance |= {names.R1: np.full(n, 1 / n), names.R10: np.full(n, min(1.0, 10 / n))}
    terms = result.config.terms
    return (
        MeasuredFold(
            Embeddings(fold.test, audio, midi),
            by_row,
            _logits(result, features, fold.test, seed_index) if terms.mismatch else None,
            _ridge(result, features, fold, seed_index),
            {m: codeword_use(joined(m, "codeword_BxK")) for m in MODALITIES} if terms.codewords else None,
            _states(joined, {"audio": midi, "midi": audio}) if terms.blockwise else None,
        ),
        chance,
    )


def _unit_bins(frame_NxTxD: NDArray[np.float32], mask_NxT: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Bins at length 1, 0 where masked."""
    length_NxTx1 = np.linalg.norm(frame_NxTxD, axis=2, keepdims=True)
    return np.where(mask_NxT[:, :, None], frame_NxTxD / np.maximum(length_NxTx1, 1e-12), np.float32(0.0))


def codeword_use(weight_NxK: np.ndarray) -> CodewordUse:
    """How many codewords are in use; a collapsed codebook has few."""
    used = weight_NxK > 0
    share = weight_NxK.astype(np.float64).mean(axis=0)
    share = share[share > 0] / max(share.sum(), 1e-12)
    perplexity = float(np.exp(-(share * np.log(share)).sum())) if share.size else 0.0
    return CodewordUse(float(used.any(axis=0).mean()), perplexity, float(used.sum(axis=1).mean()))


def state_alignment(
    result: align.AlignResult, features: Features, embeddings: Embeddings
) -> dict[str, tuple[float, ...]]:
    """Alignment of each encoder state with the other modality's clip vectors, by modality; first seed.

    features: with the layers beside the frames. embeddings: of the rows to measure, by the same projection. Needs a projection
    trained with `blockwise`.
    """
    batches = features.batches(embeddings.positions, result.config.fit.batch_rows)
    parts = [out for _, out in align.sides(result, batches, seed_index=0)]

    def joined(modality: str, field: str) -> np.ndarray:
        return np.concatenate([getattr(part[modality], field) for part in parts])

    return _states(joined, {"audio": embeddings.midi, "midi": embeddings.audio})


def mean_depth(folds: Sequence[Mapping[str, tuple[float, ...]]]) -> dict[str, tuple[float, ...]]:
    """The mean over folds of `state_alignment`."""
    return {m: tuple(float(x) for x in np.mean([fold[m] for fold in folds], axis=0)) for m in MODALITIES}


def _states(joined: Callable[[str, str], np.ndarray], others: Mapping[str, Floats]) -> dict[str, tuple[float, ...]]:
    by_modality = {}
    for m in MODALITIES:
        states = joined(m, "state_BxSxD")
        by_modality[m] = tuple(diagnostics.alignment(states[:, s], others[m]) for s in range(states.shape[1]))
    return by_modality


def _logits(result: align.AlignResult, features: Features, positions: Positions, seed_index: int) -> Floats:
    step, other = result.config.fit.batch_rows, other_variant(features.rows, positions)
    own, foreign = (
        align.mismatch(result, features.batches(positions, step, midi_from=m), seed_index=seed_index)
        for m in (None, other)
    )
    logits = np.stack([own, foreign], axis=1).astype(np.float64)
    notes, others = (features.array("midi_frames", p) for p in (positions, other))
    same = (notes == others).reshape(len(notes), -1).all(axis=1)
    logits[same] = np.nan  # another variant with the same notes does belong to this audio
    return logits


def _ridge(result: align.AlignResult, features: Features, fold: Fold, seed_index: int) -> NDArray[np.float32]:
    """A ridge probe's predictions of the test rows from what later heads read: mean and sd over bins or tokens."""
    step, positions = result.config.fit.batch_rows, [p[:MOST_ROWS] for p in (fold.train, fold.validation, fold.test)]
    blocks = []
    for part in positions:
        parts = [out for _, out in align.sides(result, features.batches(part, step), seed_index=seed_index)]
        read = [
            frame_block(
                m, *(np.concatenate([getattr(p[m], f) for p in parts]) for f in ("read_BxNxF", "read_mask_BxN"))
            )[m]
            for m in MODALITIES
        ]
        blocks.append(np.concatenate(read, axis=2))
    return fit_line((blocks[0], blocks[1], blocks[2]), [features.rows.take(p) for p in positions])[1]


Measured = Mapping[str, Sequence[Sequence[MeasuredFold]]]
"""line -> fold -> seed."""


def compare_lines(
    measured: Measured, raw: Sequence[NDArray[np.float32]], rows: Rows
) -> dict[str, tuple[dict[str, Interval], dict[str, Interval]]]:
    """line -> (measures, differences to the first line), with intervals over pieces and seeds. raw: ridge predictions by fold."""
    lines = tuple(measured)
    first = measured[lines[0]]
    positions = np.concatenate([fold[0].embeddings.positions for fold in first])
    pieces, n_seeds = np.unique(rows.piece[positions]), len(first[0])
    statistics = [
        _RowMeans(measured, rows, pieces, name)
        for name in (names.BINS, names.OWN, names.OWN_BY_BINS, names.R1, names.R10)
    ]
    aligned = [
        [AlignmentOfPieces([fold[s].embeddings for fold in measured[line]], rows, pieces) for s in range(n_seeds)]
        for line in lines
    ]
    auc = [[_AucOfPieces([fold[s] for fold in measured[line]], rows, pieces) for s in range(n_seeds)] for line in lines]
    kept = _Retention(measured, raw, rows)

    def statistic(weights: Floats, seeds: Floats) -> Floats:
        share = seeds / seeds.sum(axis=1, keepdims=True)

        def mean(by_seed: list[list[Floats]]) -> Floats:
            return np.stack([(np.stack(of, axis=1) * share).sum(axis=1) for of in by_seed], axis=1)

        columns = {s.name: s(weights, share) for s in statistics}
        columns[names.ALIGNMENT] = mean([[f(weights) for f in of] for of in aligned])
        columns[names.AUC] = mean([[f(weights) for f in of] for of in auc])
        columns[names.RETENTION] = kept(weights, seeds)
        value = np.stack([columns[name] for name in names.MEASURES], axis=2)
        return np.stack([value, value - value[:, :1]], axis=1)

    value, difference = intervals(statistic, len(pieces), n_seeds)
    return {
        line: (
            {name: v.within(0, 1) if name in SHARES else v for name, v in zip(names.MEASURES, value[i], strict=True)},
            dict(zip(names.MEASURES, difference[i], strict=True)) if i else {},
        )
        for i, line in enumerate(lines)
    }


class _RowMeans:
    """Mean of one measure over rows, as a function of piece weights and seed shares: (B, line)."""

    def __init__(self, measured: Measured, rows: Rows, pieces: NDArray[np.integer], name: str) -> None:
        self.name = name
        n_seeds = len(next(iter(measured.values()))[0])
        self._top = np.zeros((len(pieces), len(measured), n_seeds))
        self._count = np.zeros((len(pieces), len(measured)))
        for i, folds in enumerate(measured.values()):
            for fold in folds:
                for s, one in enumerate(fold):
                    values = one.by_row[name]
                    known = np.isfinite(values)
                    at = np.searchsorted(pieces, rows.piece[one.embeddings.positions[known]])
                    self._top[:, i, s] += np.bincount(at, weights=values[known], minlength=len(pieces))
                    if s == 0:
                        self._count[:, i] += np.bincount(at, minlength=len(pieces))

    def __call__(self, weights: Floats, share: Floats) -> Floats:
        top = np.einsum("bp,pls,bs->bl", weights, self._top, share, optimize=True)
        count = weights @ self._count
        return np.divide(top, count, out=np.full(top.shape, np.nan), where=count > 0)


class _AucOfPieces:
    """Area under the ROC of the mismatch logits, as a function of piece weights: NaN without a detector."""

    def __init__(self, folds: Sequence[MeasuredFold], rows: Rows, pieces: NDArray[np.integer]) -> None:
        self._parts: list[tuple[Floats, Floats]] = []
        for fold in folds:
            if fold.logits is None:
                continue
            known = np.flatnonzero(np.isfinite(fold.logits).all(axis=1))
            known = known[np.linspace(0, len(known) - 1, min(MOST_PAIRED, len(known))).astype(np.int64)]
            own, foreign = fold.logits[known].T
            one_hot = np.eye(len(pieces))[np.searchsorted(pieces, rows.piece[fold.embeddings.positions[known]])]
            above = (foreign[:, None] > own[None]).astype(np.float64) + 0.5 * (foreign[:, None] == own[None])
            self._parts.append((one_hot.T @ above @ one_hot, one_hot.sum(axis=0)))

    def __call__(self, weights: Floats) -> Floats:
        won, pairs = np.zeros(len(weights)), np.zeros(len(weights))
        for above, count in self._parts:  # within a fold: another fold's detector has another scale
            won += ((weights @ above) * weights).sum(axis=1)
            pairs += (weights @ count) ** 2
        return np.divide(won, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


class _Retention:
    """Mean specific r of the ridge probe on each line's read-out ÷ that on the raw features: (B, line)."""

    def __init__(self, measured: Measured, raw: Sequence[NDArray[np.float32]], rows: Rows) -> None:
        first = next(iter(measured.values()))
        n_seeds = len(first[0])
        positions = [fold[0].embeddings.positions[:MOST_ROWS] for fold in first]
        order = np.argsort(np.concatenate(positions), kind="stable")
        fold_of = np.concatenate([np.full(len(p), i) for i, p in enumerate(positions)])[order]
        by_model = {"raw": np.repeat(np.concatenate(raw)[order][None], n_seeds, axis=0)}
        for line, folds in measured.items():
            by_model[f"line {line}"] = np.stack(
                [np.concatenate([fold[s].ridge for fold in folds])[order] for s in range(n_seeds)]
            )
        tested = np.concatenate(positions)[order]
        self._pieces = np.searchsorted(
            np.unique(rows.piece[np.concatenate([f[0].embeddings.positions for f in first])]),
            np.unique(rows.piece[tested]),
        )
        predictions = replace(scored_rows(rows.take(tested), by_model), fold=fold_of if len(positions) > 1 else None)
        self._correlations = Correlations(predictions, "specific")

    def __call__(self, weights: Floats, seeds: Floats) -> Floats:
        mean = over_dimensions(over_seeds(self._correlations(weights[:, self._pieces]), seeds))
        raw = mean[:, :1]
        return np.divide(mean[:, 1:], raw, out=np.full(mean[:, 1:].shape, np.nan), where=raw > SMALLEST_RAW)
