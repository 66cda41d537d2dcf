"""Projections of both modalities into one space, one pair per fold: fit, save, load, embed rows, align features."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.features import Features, Positions
from keybed.experiments.data.fold_data import FoldData
from keybed.experiments.data.folds import Fold
from keybed.experiments.evaluation import diagnostics
from keybed.experiments.evaluation.inspection import pooled, sample
from keybed.heads import align, checkpoint
from keybed.heads.errors import CheckpointMismatch
from keybed.heads.normalisation import Normalisation
from keybed.heads.progress import Listener, named
from keybed.store.counted import counted
from keybed.store.disk.durable import disk_error

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Embeddings (row, width) of one fold's test rows: minus the modality's mean over training rows, scaled to length 1."""

    positions: Positions
    audio: Floats
    midi: Floats


def projection_path(run: Path, fold: Fold) -> Path:
    """Where a run of Phase 3 keeps a fold's projections."""
    return run / f"projection-{fold.name.replace(' ', '-')}.npz"


def fit_projections(
    features: Features, fold: Fold, config: align.AlignConfig, fingerprint: str, folder: Path, progress: Listener | None
) -> align.AlignResult:
    """Train one fold's projections, or load them where this run has trained them already."""
    path = projection_path(folder, fold)
    batch_rows = min(config.fit.batch_rows, len(fold.train))
    config = replace(config, fit=replace(config.fit, batch_rows=batch_rows))
    rows = hashlib.sha256(features.rows.index[fold.train].tobytes()).hexdigest()
    if path.is_file():
        trained, facts = _read_projections(path)
        if (facts["store"], facts["train_rows"]) != (fingerprint, rows) or trained.config.to_json() != config.to_json():
            raise CheckpointMismatch(
                f"{path}: was trained on another store, on other rows or with another configuration; delete it or give another --out"
            )
        return trained
    data = FoldData(features, fold.train, fold.validation, batch_rows, len(fold.train))
    progress = named(progress, fold.name.replace(" ", "-"))
    result = align.fit_projection(data, config, store=fingerprint, progress=progress)
    save_projections(path, result, rows)
    return result


def save_projections(path: Path, result: align.AlignResult, train_rows: str) -> None:
    """Write projections as one file. train_rows: sha256 of the numbers of the rows that they were trained on."""
    tree = {
        "params": result.params,
        "features": {n: {"mean": m, "inverse_sd": i} for n, (m, i) in result.normalisation.features.items()},
        "scores": {"mean": result.normalisation.score_mean_K, "sd": result.normalisation.score_sd_K},
    }
    facts = {
        **result.config.to_json(),
        "history": result.history,
        "best_epoch": result.best_epoch,
        "store": result.store,
        "train_rows": train_rows,
    }
    checkpoint.save_tree(path, tree, facts)


def load_projections(path: Path) -> align.AlignResult:
    """Inverse of what `fit_projections` saves. Raises FileDamaged and CheckpointMismatch."""
    return _read_projections(path)[0]


def _read_projections(path: Path) -> tuple[align.AlignResult, dict[str, Any]]:
    shape = ("loss", "hidden", "width", "temperature", "window_s")
    fields = (*shape, "fit", "history", "best_epoch", "store", "train_rows")
    tree, facts = checkpoint.load_tree(path, parts=("params", "features", "scores"), fields=fields)
    fit = checkpoint.fit_config_from_json(path, facts["fit"])
    normalised = {name: (f["mean"], f["inverse_sd"]) for name, f in tree["features"].items()}
    normalisation = Normalisation(normalised, tree["scores"]["mean"], tree["scores"]["sd"])
    terms = checkpoint.config_from_json(path, align.Terms, facts.get("terms", {}))  # none before the terms existed
    settings = {**{key: facts[key] for key in shape}, "fit": fit, "terms": terms}
    config = checkpoint.config_from_json(path, align.AlignConfig, settings)
    result = align.AlignResult(
        config, tree["params"], normalisation, facts["history"], facts["best_epoch"], facts["store"]
    )
    align.check(path, result)
    return result, facts


def untrained(result: align.AlignResult, features: Features) -> align.AlignResult:
    """The same projections as they were before training."""
    import jax

    fresh = result.config.objective.init(jax.random.key(0), features.batch(np.arange(2)))[align.NAME]
    return replace(result, params=jax.tree.map(lambda a: np.asarray(a, np.float32)[None], fresh))


def embed(result: align.AlignResult, features: Features, fold: Fold, positions: Positions) -> Embeddings:
    """Embeddings of rows at `positions`, centred by the fold's training rows."""
    step = result.config.fit.batch_rows
    reference = align.project(result, features.batches(sample(fold.train), step))
    projected = align.project(result, features.batches(positions, step))
    audio, midi = (
        diagnostics.unit(x, mean.astype(np.float64).mean(0)) for x, mean in zip(projected, reference, strict=True)
    )
    return Embeddings(positions, audio, midi)


def embed_by_cca(features: Features, fold: Fold, positions: Positions) -> Embeddings:
    """The closed-form comparison: canonical correlation on pooled features, fitted on the fold's training rows."""
    embedded = {}
    fitted = {m: pooled(features, m, fold.train[:4096]) for m in ("audio", "midi")}
    centre = {m: x.mean(0) for m, x in fitted.items()}
    scale = {m: np.where(x.std(0) > 1e-9, 1 / np.maximum(x.std(0), 1e-9), 0) for m, x in fitted.items()}
    z = {m: (x - centre[m]) * scale[m] for m, x in fitted.items()}
    maps = dict(zip(("audio", "midi"), diagnostics.cca(z["audio"], z["midi"]), strict=True))
    for m in ("audio", "midi"):
        embedded[m] = diagnostics.unit(((pooled(features, m, positions) - centre[m]) * scale[m]) @ maps[m], np.zeros(1))
    return Embeddings(positions, embedded["audio"], embedded["midi"])


def aligned_features(
    result: align.AlignResult, features: Features, *, memory_gib: float, folder: Path, say: Callable[[str], None]
) -> Features:
    """All rows of `features` with aligned frames in place of the encoders' own, as float16.

    Up to memory_gib they lie in memory. Larger ones are memory-mapped in an unlinked temporary file in `folder`; a message
    (through `say`) says so. Raises NoDiskSpace where that disk is too full.
    """
    n, step = len(features.rows), result.config.fit.batch_rows
    first = next(iter(align.aligned(result, features.batches(np.arange(1), step))))
    shape = (2, n, *first.audio_BxTxC.shape[1:])
    gib = 2 * np.prod(shape, dtype=float) / 2**30
    if gib > memory_gib:
        say(
            f"aligned features of {counted(n, 'row')} are {gib:.1f} GiB, over {memory_gib:.1f} GiB: kept on the disk of {folder}"
        )
    frames = np.empty(shape, np.float16) if gib <= memory_gib else _on_disk(shape, folder)
    masks = np.empty((2, *shape[1:3]), bool)
    start = 0
    for b in align.aligned(result, features.batches(np.arange(n), step)):
        part = slice(start, start + b.n_rows)
        frames[0, part], frames[1, part] = b.audio_BxTxC, b.midi_BxTxC
        masks[0, part], masks[1, part] = b.audio_mask_BxT, b.midi_mask_BxT
        start += b.n_rows
    return features.replaced((frames[0], frames[1]), (masks[0], masks[1]))


def _on_disk(shape: tuple[int, ...], folder: Path) -> np.ndarray:
    n_bytes = 2 * int(np.prod(shape))
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, n_bytes)
            return np.memmap(file, dtype=np.float16, mode="r+", shape=shape)
    except OSError as error:
        raise disk_error(error, folder) from error
