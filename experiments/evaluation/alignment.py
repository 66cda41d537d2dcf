"""Projections that bring both modalities into one space, one set a fold, and what they reach on rows they never saw."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.features import Features, FoldData, Positions
from keybed.experiments.data.folds import Fold
from keybed.experiments.evaluation import diagnostics
from keybed.experiments.evaluation.inspection import pooled, sample
from keybed.experiments.evaluation.intervals import Interval, intervals
from keybed.heads import align, checkpoint
from keybed.heads.fit_config import FitConfig
from keybed.heads.losses import LossWeights
from keybed.heads.normalisation import Normalisation
from keybed.heads.progress import Listener
from keybed.store.disk.durable import disk_error
from keybed.store.format.rows import Rows

Floats = NDArray[np.float64]
RANKS = (1, 5, 10)
_ASKED_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Unit-free embeddings of one fold's judged rows, each modality minus its mean over training rows, at length 1."""

    positions: Positions
    audio: Floats
    midi: Floats


def fit_projections(
    features: Features, fold: Fold, config: align.AlignConfig, fingerprint: str, folder: Path, progress: Listener | None
) -> align.AlignResult:
    """Train one fold's projections, or load them where this run has trained them already."""
    path = folder / f"projection-{fold.name.replace(' ', '-')}.npz"
    batch_rows = min(config.fit.batch_rows, len(fold.train))
    config = replace(config, fit=replace(config.fit, batch_rows=batch_rows))
    if path.is_file():
        return load_projections(path)
    data = FoldData(features, fold.train, fold.validation, batch_rows, len(fold.train))
    result = align.fit_projection(data, config, store=fingerprint, progress=progress)
    tree = {
        "params": result.params,
        "features": {n: {"mean": m, "inverse_sd": i} for n, (m, i) in result.normalisation.features.items()},
        "scores": {"mean": result.normalisation.score_mean_K, "sd": result.normalisation.score_sd_K},
    }
    about = {
        "loss": config.loss,
        "hidden": config.hidden,
        "width": config.width,
        "temperature": config.temperature,
        "window_s": config.window_s,
        "fit": config.fit.to_json(),
        "history": result.history,
        "best_epoch": result.best_epoch,
        "store": result.store,
    }
    checkpoint.save_tree(path, tree, about)
    return result


def load_projections(path: Path) -> align.AlignResult:
    """Inverse of what `fit_projections` saves."""
    tree, about = checkpoint.load_tree(path)
    told = about["fit"]
    fit = FitConfig(**{**told, "seeds": tuple(told["seeds"]), "losses": LossWeights(**told["losses"])})
    shape = {key: about[key] for key in ("loss", "hidden", "width", "temperature", "window_s")}
    normalised = {name: (f["mean"], f["inverse_sd"]) for name, f in tree["features"].items()}
    normalisation = Normalisation(normalised, tree["scores"]["mean"], tree["scores"]["sd"])
    config = align.AlignConfig(**shape, fit=fit)
    result = align.AlignResult(
        config, tree["params"], normalisation, about["history"], about["best_epoch"], about["store"]
    )
    align.check(path, result)
    return result


def untrained(result: align.AlignResult, features: Features) -> align.AlignResult:
    """The same projections as they were before training."""
    import jax

    model = align.Projection(result.config.hidden, result.config.width)
    batch = features.batch(np.arange(2))
    params = dict(result.params)
    for key, m in zip(jax.random.split(jax.random.key(0), 2), ("audio", "midi"), strict=True):
        fresh = model.init(key, getattr(batch, f"{m}_BxTxC").astype(np.float32))["params"]
        params[m] = jax.tree.map(lambda a: np.asarray(a)[None], fresh)
    return replace(result, params=params)


def embed(result: align.AlignResult, features: Features, fold: Fold, positions: Positions) -> Embeddings:
    """Embeddings of rows at `positions`, centred by the fold's training rows."""
    step = result.config.fit.batch_rows
    reference = align.project(result, features.batches(sample(fold.train), step))
    here = align.project(result, features.batches(positions, step))
    audio, midi = (
        diagnostics.unit(x, mean.astype(np.float64).mean(0)) for x, mean in zip(here, reference, strict=True)
    )
    return Embeddings(positions, audio, midi)


def embed_by_cca(features: Features, fold: Fold, positions: Positions) -> Embeddings:
    """The closed-form rival: canonical correlation on the pooled features, fitted on the fold's training rows."""
    found = {}
    fitted = {m: pooled(features, m, fold.train[:4096]) for m in ("audio", "midi")}
    centre = {m: x.mean(0) for m, x in fitted.items()}
    scale = {m: np.where(x.std(0) > 1e-9, 1 / np.maximum(x.std(0), 1e-9), 0) for m, x in fitted.items()}
    z = {m: (x - centre[m]) * scale[m] for m, x in fitted.items()}
    maps = dict(zip(("audio", "midi"), diagnostics.cca(z["audio"], z["midi"]), strict=True))
    for m in ("audio", "midi"):
        found[m] = diagnostics.unit(((pooled(features, m, positions) - centre[m]) * scale[m]) @ maps[m], np.zeros(1))
    return Embeddings(positions, found["audio"], found["midi"])


def aligned_features(
    result: align.AlignResult, features: Features, *, memory_gib: float, folder: Path, say: Callable[[str], None]
) -> Features:
    """All rows of `features` with aligned frames in place of the encoders' own, as float16.

    They lie in memory up to memory_gib, beyond it in a nameless file on the disk of `folder` that is gone with the
    process; which is said. Raises StoreError where that disk has no room.
    """
    n, n_bins = len(features.rows), features.batch(np.arange(1)).audio_BxTxC.shape[1]
    shape = (2, n, n_bins, result.config.width)
    gib = 2 * np.prod(shape, dtype=float) / 2**30
    if gib > memory_gib:
        say(f"aligned features of {n} rows are {gib:.1f} GiB, over {memory_gib:.1f} GiB: kept on the disk of {folder}")
    frames = np.empty(shape, np.float16) if gib <= memory_gib else _on_disk(shape, folder)
    start = 0
    for b in align.aligned(result, features.batches(np.arange(n), result.config.fit.batch_rows)):
        frames[0, start : start + b.n_rows], frames[1, start : start + b.n_rows] = b.audio_BxTxC, b.midi_BxTxC
        start += b.n_rows
    return features.replaced(frames[0], frames[1])


def _on_disk(shape: tuple[int, ...], folder: Path) -> np.ndarray:
    n_bytes = 2 * int(np.prod(shape))
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, n_bytes)
            return np.memmap(file, dtype=np.float16, mode="r+", shape=shape)
    except OSError as error:
        raise disk_error(error, folder) from error


def alignment_interval(embeddings: Sequence[Embeddings], rows: Rows) -> Interval:
    """Paired minus unpaired mean cosine, unpaired within a fold, with its interval over pieces."""
    pieces = np.unique(np.concatenate([rows.piece[m.positions] for m in embeddings]))
    parts = []
    for m in embeddings:
        at = np.searchsorted(pieces, rows.piece[m.positions])
        width = m.audio.shape[1]
        audio, midi = np.zeros((len(pieces), width)), np.zeros((len(pieces), width))
        np.add.at(audio, at, m.audio)
        np.add.at(midi, at, m.midi)
        pair = np.bincount(at, weights=(m.audio * m.midi).sum(1), minlength=len(pieces))
        own = np.bincount(at, minlength=len(pieces)).astype(float)
        parts.append((audio, midi, (audio * midi).sum(1), pair, own))

    def statistic(weights: Floats, _: Floats) -> Floats:
        """A piece drawn twice is two pieces: rows of it are not held against their own copies."""
        total, rows_seen = np.zeros(len(weights)), np.zeros(len(weights))
        for audio, midi, inside, pair, own in parts:
            n, twice = weights @ own, weights**2 - weights
            unpaired = ((weights @ audio) * (weights @ midi)).sum(1) - twice @ inside - weights @ pair
            n_unpaired = n**2 - twice @ own**2 - n
            known = n_unpaired > 0
            value = np.full(len(weights), np.nan)
            value[known] = (weights @ pair)[known] / n[known] - unpaired[known] / n_unpaired[known]
            total[known] += (value * n)[known]
            rows_seen[known] += n[known]
        return np.divide(total, rows_seen, out=np.full(len(weights), np.nan), where=rows_seen > 0)[:, None]

    found: Interval = intervals(statistic, len(pieces), 1)[0]
    return found


def variant_recall(embeddings: Sequence[Embeddings], rows: Rows) -> tuple[Interval, float]:
    """R@1 of a row's partner among its segment's own variants, both directions, and what chance would reach.

    Ties share the point.
    """
    hits, chance, piece = [], [], []
    for m in embeddings:
        segment = rows.segment[m.positions]
        for s in np.unique(segment):
            at = np.flatnonzero(segment == s)
            if len(at) < 2:
                continue
            cosine = m.audio[at] @ m.midi[at].T
            both = [_first(cosine), _first(cosine.T)]
            hits += np.mean(both, axis=0).tolist()
            chance += [1 / len(at)] * len(at)
            piece += rows.piece[m.positions[at]].tolist()
    pieces, at_piece = np.unique(piece, return_inverse=True)
    top, count = np.bincount(at_piece, weights=hits), np.bincount(at_piece).astype(float)

    def statistic(weights: Floats, _: Floats) -> Floats:
        total = weights @ count
        return np.divide(weights @ top, total, out=np.full(len(weights), np.nan), where=total > 0)[:, None]

    return intervals(statistic, len(pieces), 1)[0], float(np.mean(chance))


def _first(cosine: Floats) -> Floats:
    best = cosine >= cosine.max(axis=1, keepdims=True) - 1e-9
    return np.diag(best) / best.sum(axis=1)


def retrieval(embeddings: Embeddings, rows: Rows) -> dict[str, Any]:
    """R@1, 5 and 10 both ways among all rows of one fold and among those of the same piece."""
    n, piece = len(embeddings.positions), rows.piece[embeddings.positions]
    found: dict[str, Any] = {"rows": n}
    for name, asking, answers in (
        ("audio_to_midi", embeddings.audio, embeddings.midi),
        ("midi_to_audio", embeddings.midi, embeddings.audio),
    ):
        better, better_inside = np.empty(n, np.int64), np.empty(n, np.int64)
        for start in range(0, n, _ASKED_AT_ONCE):
            here = np.arange(start, min(start + _ASKED_AT_ONCE, n))
            cosine = asking[here] @ answers.T
            above = cosine > cosine[here - start, here][:, None]
            better[here] = above.sum(1)
            better_inside[here] = (above & (piece[here][:, None] == piece)).sum(1)
        found[name] = {f"R@{r}": float((better < r).mean()) for r in RANKS}
        found[f"{name}, same piece"] = {f"R@{r}": float((better_inside < r).mean()) for r in RANKS}
    return found


def collapse_measures(embeddings: Embeddings) -> dict[str, dict[str, float]]:
    """Effective rank and uniformity of both modalities: a collapsed space has rank near 0 and uniformity near 0."""
    chosen = sample(np.arange(len(embeddings.positions)))
    return {
        m: {"effective_rank": diagnostics.effective_rank(x[chosen]), "uniformity": diagnostics.uniformity(x[chosen])}
        for m, x in (("audio", embeddings.audio), ("midi", embeddings.midi))
    }


def project_2d(embeddings: Embeddings, n_rows: int = 150) -> dict[str, list[list[float]]]:
    """Both modalities on the two leading principal axes of all embeddings together."""
    chosen = np.linspace(0, len(embeddings.positions) - 1, min(n_rows, len(embeddings.positions))).astype(int)
    both = np.concatenate([embeddings.audio[chosen], embeddings.midi[chosen]])
    _, _, axes = np.linalg.svd(both - both.mean(0), full_matrices=False)
    flat = np.round((both - both.mean(0)) @ axes[:2].T, 4)
    return {"audio": flat[: len(chosen)].tolist(), "midi": flat[len(chosen) :].tolist()}
