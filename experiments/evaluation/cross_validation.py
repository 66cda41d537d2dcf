"""Cross-validation: train heads on some pieces, choose on others, predict the test pieces.

Predictions of all folds, of swapped modalities, composed models and shortcut baselines are named arrays over the same rows
(`Predictions`), so that every later comparison is paired.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.features import Features, other_variant
from keybed.experiments.data.fold_data import FoldData, batch_rows_for
from keybed.experiments.data.folds import Fold
from keybed.experiments.evaluation import shortcuts
from keybed.experiments.evaluation.model_names import SHORTCUT, SWAP_AUDIO, SWAP_MIDI
from keybed.experiments.evaluation.model_selection import Choice, choose, compose
from keybed.experiments.evaluation.predictions import Predictions
from keybed.heads import fitted, train
from keybed.heads.fit_config import FitConfig
from keybed.heads.losses import LossWeights
from keybed.heads.models import HeadConfig, Pooled
from keybed.heads.progress import Listener, named
from keybed.store.errors import KeybedError
from keybed.store.format.rows import Rows
from keybed.store.format.vocabulary import TIERS

PredictionArrays = dict[str, NDArray[np.float32]]


_EPOCHS, _MOST_EPOCHS = 5, 15
_LEAST_STEPS = 750
_MEAN_RATE = 0.5
"""Mean of a learning rate that rises in a line and falls along a cosine, as a share of its peak."""
_MOST_DECAY = 1.0
"""Fits of a few dozen steps, as in a demo, would else be held at zero."""


@dataclass(frozen=True)
class Budget:
    """Training settings that all heads of a run share, and what shapes the heads.

    batch_rows None: from the number of training rows. epochs None: 5, or up to 15 until there are 750 steps. weight_decay
    None: such that a weight without a gradient shrinks to 1/e over the whole fit, however many steps it has.
    """

    epochs: int | None = None
    seeds: int = 5
    hidden: int = 128
    batch_rows: int | None = None
    learning_rate: float = 3e-3
    ranking: float = 0.1
    first_seed: int = 0
    pooling: Pooled = "statistics"
    weight_decay: float | None = None

    def fit_config(self, n_train_rows: int, checkpoint_dir: Path | None = None) -> FitConfig:
        """The heads' own configuration."""
        wanted = batch_rows_for(n_train_rows) if self.batch_rows is None else self.batch_rows
        asked = FitConfig(
            epochs=_EPOCHS if self.epochs is None else self.epochs,
            batch_rows=min(wanted, n_train_rows),
            learning_rate=self.learning_rate,
            weight_decay=0.0 if self.weight_decay is None else self.weight_decay,
            seeds=tuple(range(self.first_seed, self.first_seed + self.seeds)),
            losses=LossWeights(ranking=self.ranking),
            patience=0,
            checkpoint_dir=checkpoint_dir,
        )
        epochs, decay = asked.epochs, asked.weight_decay
        epoch_steps = -(-n_train_rows // asked.batch_rows)
        if self.epochs is None:
            epochs = min(max(_EPOCHS, -(-_LEAST_STEPS // epoch_steps)), _MOST_EPOCHS)
        if self.weight_decay is None:
            decay = min(1 / (_MEAN_RATE * self.learning_rate * epochs * epoch_steps), _MOST_DECAY)
        return replace(asked, epochs=epochs, weight_decay=decay)


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Predictions of the test rows: all heads, composed models, the best fusion with one modality swapped, shortcuts.

    rows: the test rows, in the order of `predictions`. choices, fits and validation: one per fold.
    """

    predictions: Predictions
    rows: Rows
    folds: tuple[Fold, ...]
    choices: tuple[Choice, ...]
    fits: tuple[fitted.FitResult, ...]
    validation: tuple[Predictions, ...]
    """Every fold's predictions of its validation rows."""


def head_configs(names: Sequence[str], budget: Budget, inputs: str) -> dict[str, HeadConfig]:
    """Heads by their kind."""
    read: Literal["layers", "frames"] = "layers" if inputs == "layers" else "frames"
    return {name: HeadConfig(kind=name, hidden=budget.hidden, inputs=read, pooling=budget.pooling) for name in names}


@contextmanager
def compiled_once() -> Iterator[None]:
    """Within this block training steps of one shape are compiled once; the compilation cache is deleted after it.

    Raises KeybedError where no folder for temporary files can be written.
    """
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    before = jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs
    with _temporary_folder() as folder:
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
        compilation_cache.reset_cache()
        try:
            yield
        finally:
            jax.config.update("jax_compilation_cache_dir", before[0])
            jax.config.update("jax_persistent_cache_min_compile_time_secs", before[1])
            compilation_cache.reset_cache()


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="keybed-compiled-")
    except OSError as error:
        raise KeybedError(
            f"no folder for temporary files can be written ({error.strerror or error}): free some space there, or set TMPDIR"
        ) from error


def cross_validate(
    features: Features,
    folds: Sequence[Fold],
    heads: Mapping[str, HeadConfig],
    budget: Budget,
    *,
    fingerprint: str,
    n_train_rows: int | None = None,
    checkpoints: Path | None = None,
    progress: Listener | None = None,
) -> CrossValidation:
    """Train the heads of every fold and predict its test rows.

    n_train_rows: rows of an epoch, at least those of the largest fold; smaller folds are filled with empty rows.
    checkpoints: a folder; an interrupted fold continues from its last epoch.
    """
    parts: list[PredictionArrays] = []
    choices, fits, validation = [], [], []
    largest = max(len(fold.train) for fold in folds)
    n_train_rows = largest if n_train_rows is None else max(n_train_rows, largest)
    for number, fold in enumerate(folds):
        where = None if checkpoints is None else checkpoints / f"fold-{number + 1}"
        config = budget.fit_config(n_train_rows, where)
        data = FoldData(features, fold.train, fold.validation, config.batch_rows, n_train_rows)
        result = train.fit(
            heads, data, config, store=fingerprint, progress=named(progress, fold.name.replace(" ", "-"))
        )
        step = config.batch_rows
        validation_rows = features.rows.take(fold.validation)
        validation.append(scored_rows(validation_rows, fitted.predict(result, data.validation())))
        choice = choose(validation[-1])
        parts.append(
            _predict_test(result, features, fold, choice, step) | shortcut_predictions(features, fold, budget.seeds)
        )
        choices.append(choice)
        fits.append(result)
    positions = np.concatenate([fold.test for fold in folds])
    fold_of = np.concatenate([np.full(len(fold.test), i) for i, fold in enumerate(folds)])
    order = np.argsort(positions, kind="stable")
    rows = features.rows.take(positions[order])
    together = {name: np.concatenate([part[name] for part in parts], axis=1)[:, order] for name in parts[0]}
    predictions = replace(scored_rows(rows, together), fold=fold_of[order] if len(folds) > 1 else None)
    return CrossValidation(predictions, rows, tuple(folds), tuple(choices), tuple(fits), tuple(validation))


def scored_rows(rows: Rows, predictions: Mapping[str, NDArray[np.float32]]) -> Predictions:
    """Predictions with the labels of their rows; difficulty is that of the segment's pristine variant."""
    difficulty = rows.difficulty.copy()
    pristine = np.flatnonzero(rows.tier == TIERS.index("pristine"))
    own = dict(zip(rows.segment[pristine].tolist(), pristine.tolist(), strict=True))
    for i, segment in enumerate(rows.segment.tolist()):
        if segment in own:
            difficulty[i] = rows.difficulty[own[segment]]
    return Predictions(predictions, rows.score, rows.valid, rows.tier, rows.segment, rows.piece, difficulty)


def _predict_test(
    result: fitted.FitResult, features: Features, fold: Fold, choice: Choice, step: int
) -> PredictionArrays:
    plain = fitted.predict(result, features.batches(fold.test, step))
    other = other_variant(features.rows, fold.test)
    swapped_audio = fitted.predict(result, features.batches(fold.test, step, audio_from=other))
    swapped_midi = fitted.predict(result, features.batches(fold.test, step, midi_from=other))
    return {
        **plain,
        **compose(plain, choice),
        SWAP_AUDIO: swapped_audio[choice.fusion],
        SWAP_MIDI: swapped_midi[choice.fusion],
    }


def merge_folds(parts: Sequence[CrossValidation]) -> CrossValidation:
    """Cross-validations of one fold each, over different rows, as one."""
    if len(parts) == 1:
        return parts[0]
    order = np.argsort(np.concatenate([p.rows.index for p in parts]), kind="stable")
    first = parts[0].rows
    columns = {f.name: np.concatenate([getattr(p.rows, f.name) for p in parts])[order] for f in fields(first)}
    rows = type(first)(**columns)
    by_model = {
        name: np.concatenate([p.predictions.by_model[name] for p in parts], axis=1)[:, order]
        for name in parts[0].predictions.names
    }
    fold = np.concatenate([np.full(len(p.rows), i) for i, p in enumerate(parts)])[order]
    return CrossValidation(
        replace(scored_rows(rows, by_model), fold=fold),
        rows,
        tuple(f for p in parts for f in p.folds),
        tuple(c for p in parts for c in p.choices),
        tuple(f for p in parts for f in p.fits),
        tuple(v for p in parts for v in p.validation),
    )


def shortcut_predictions(
    features: Features, fold: Fold, n_seeds: int, left_out: Sequence[str] = ()
) -> PredictionArrays:
    """Test predictions of the shortcut baselines by name, each (seed, row, dimension), the same for every seed."""
    rows, fitted_on, predictions = features.rows, fold.train, {}
    for name, inputs in shortcuts.columns(rows, features.durations).items():
        if name in left_out:
            continue
        predicted = shortcuts.fit_predict(
            inputs[fitted_on],
            inputs[fold.test],
            rows.score[fitted_on],
            rows.valid[fitted_on],
            features.weight[fitted_on],
        )
        predictions[f"{SHORTCUT}{name}"] = np.broadcast_to(predicted, (n_seeds, *predicted.shape))
    return predictions
