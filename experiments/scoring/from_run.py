"""A `ScoringModel` from a run: choose the head, calibrate its intervals, measure what the features of training look like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal, cast

import numpy as np

from keybed.experiments.data.features import Features, Positions
from keybed.experiments.data.run_facts import EncoderFacts
from keybed.experiments.evaluation.cross_validation import scored_rows
from keybed.experiments.evaluation.model_names import SINGLES
from keybed.experiments.evaluation.model_selection import choose
from keybed.experiments.evaluation.predictions import Correlations, Predictions
from keybed.experiments.scoring import calibration, distance
from keybed.experiments.scoring.comparing import fit_comparing
from keybed.experiments.scoring.derived_view import constants_of
from keybed.experiments.scoring.model import ScoringModel, head_inputs
from keybed.experiments.scoring.results import DimensionCard, DistanceCard, ModelCard
from keybed.experiments.scoring.room import median_recording
from keybed.experiments.scoring.run_files import Condition, RunFiles, open_run
from keybed.extract import encoders
from keybed.extract.processes import return_freed_memory
from keybed.extract.progress import Progress, silent
from keybed.heads import fitted
from keybed.heads.inputs import HeadInput
from keybed.heads.xla import forget_compiled_code
from keybed.store.format.recipe import Recipe
from keybed.store.format.vocabulary import AXIS_DIMENSIONS, DIMENSIONS

MODEL_VERSION = 4
"""Raise it whenever the same run would give another model: a kept one is then made again."""
MEMORY_GIB = 0.25
_STEP = "calibrating the model"


def model_of_run(run: Path, store: Path | None = None, progress: Progress = silent) -> ScoringModel:
    """The scoring model of a finished run of Phase 2 or 4; takes about half a minute. Raises what `open_run` raises.

    The head is the fusion with the best mean specific r on the validation rows; of Phase 4 on raw or aligned features, as
    validation says. Nothing is chosen on test rows; they give the coverage that the card states.
    """
    return_freed_memory()
    files = open_run(run, store)
    features = Features(files.store, files.view, files.rows, memory_gib=MEMORY_GIB)
    progress(_STEP, 0, 5)
    scored = [_predict(c, features, files, files.fold.validation) for c in files.conditions]
    choices = [choose(p, files.fusions) for p in scored]
    best = max(range(len(choices)), key=lambda i: choices[i].validation[choices[i].fusion])
    condition, validation, head = files.conditions[best], scored[best], choices[best].fusion
    progress(_STEP, 1, 5)
    train = files.rows.take(files.fold.train)
    calibrated = calibration.calibrate(validation, head, train.score, train.valid)
    progress(_STEP, 2, 5)
    test = _predict(condition, features, files, files.fold.test)
    progress(_STEP, 3, 5)
    step = condition.fit.config.batch_rows
    of_train = files.fold.train[:: -(-len(files.fold.train) // distance.MOST_ROWS)]
    distances = distance.fit_distance(
        features.batches(of_train, step), features.batches(files.fold.validation, step), validation.piece
    )
    progress(_STEP, 4, 5)
    comparing, comparing_card = fit_comparing(features, files.fold) or (None, None)
    progress(_STEP, 5, 5)
    # The heads that are not scored with, for numbers of rows that do not come again.
    forget_compiled_code()
    room, room_card = median_recording(files.store, train.index) or (None, None)
    card = replace(_card(files, condition, head, calibrated, distances, test), room=room_card, comparing=comparing_card)
    return ScoringModel(
        card=card,
        recipe=_own_recipe(files),
        view=files.view,
        fit=_only(condition.fit, head),
        projection=condition.projection,
        calibration=calibrated,
        distance=distances,
        trained_on=_trained_on(files),
        paths=files.store.machine_paths,
        constants=constants_of(files.store, files.view),
        room=room,
        fitted=_fitted(files),
        comparing=comparing,
    )


def _predict(condition: Condition, features: Features, files: RunFiles, positions: Positions) -> Predictions:
    """Predictions of the fusions, and of the single modalities, which `choose` compares them with."""
    names = [name for name in (*SINGLES, *files.fusions) if name in condition.fit.heads]

    def batches() -> Iterator[HeadInput]:
        yield from head_inputs(condition.projection, features.batches(positions, condition.fit.config.batch_rows))

    return scored_rows(files.rows.take(positions), fitted.predict(condition.fit, batches(), heads=names))


def _only(fit: fitted.FitResult, head: str) -> fitted.FitResult:
    """The same fit with one head, without the history of its training."""
    return replace(
        fit,
        heads={head: fit.heads[head]},
        params={head: fit.params[head]},
        config=replace(fit.config, checkpoint_dir=None),
        history=[],
        best_epoch={head: fit.best_epoch[head]},
    )


def _own_recipe(files: RunFiles) -> Recipe:
    encoders = tuple(files.store.recipe.encoder(name) for name in (files.view.audio, files.view.midi))
    return replace(files.store.recipe, encoders=encoders)


def _trained_on(files: RunFiles) -> frozenset[str]:
    recordings = files.store.recordings
    used = np.unique(files.rows.recording[files.fold.train])
    return frozenset(recordings[int(number)]["midi_sha256"] for number in used)


def _fitted(files: RunFiles) -> dict[str, bytes]:
    """The files of the encoders whose models were fitted, where they still lie where the store says."""
    paths = {name: files.store.machine_paths.get(f"weights/{name}") for name in (files.view.audio, files.view.midi)}
    there = {name: Path(path) for name, path in paths.items() if name in encoders.FITTED and path is not None}
    return {name: path.read_bytes() for name, path in there.items() if path.is_file()}


def _card(
    files: RunFiles,
    condition: Condition,
    head: str,
    calibrated: calibration.Calibration,
    distances: dict[str, distance.ModalityDistance],
    test: Predictions,
) -> ModelCard:
    made = calibration.intervals(calibrated, test.by_model[head])
    correlations = Correlations(test.only((head,)), "specific")
    r = correlations(np.ones((1, correlations.n_pieces)))[0, :, 0].mean(axis=-1)
    dimensions = {}
    for k, name in enumerate(DIMENSIONS):
        covered, least = calibration.coverage_by_piece(made, k, test)
        rows = test.valid[:, k]
        width = float(made.width[rows, k].mean()) if rows.any() else np.nan
        measured = (
            covered,
            least,
            width,
            calibrated.known_nothing_width_K[k],
            r[k] if name in AXIS_DIMENSIONS else np.nan,
        )
        dimensions[name] = DimensionCard(*(float(x) if np.isfinite(x) else None for x in measured))
    recipe, piece = files.store.recipe, files.rows.piece
    threshold = {m: d.threshold for m, d in distances.items()}
    pieces = [len(np.unique(piece[p])) for p in (files.fold.train, files.fold.validation, files.fold.test)]
    read = [recipe.encoder(name) for name in (files.view.audio, files.view.midi)]
    return ModelCard(
        run=files.run.absolute().name,
        phase=files.phase,
        verdict=files.gate.verdict,
        head=head,
        features=cast(Literal["raw", "aligned"], condition.features),
        n_seeds=len(condition.fit.seeds),
        store=files.view.fingerprint(files.store),
        encoders=tuple(EncoderFacts(e.name, e.modality, e.source, e.random_weights, e.revision) for e in read),
        audio_source=recipe.audio["source"],
        window_s=float(recipe.segments["window_s"]),
        degradation_version=int(recipe.degradation.get("code_version", 1)),
        train_pieces=pieces[0],
        validation_pieces=pieces[1],
        test_pieces=pieces[2],
        coverage=calibration.COVERAGE,
        dimensions=dimensions,
        distance=DistanceCard(distance.METHOD, distance.VALIDATION_SHARE, threshold),
        keybed_version=version("keybed"),
    )
