"""Predictions of rated performances by the heads of an earlier run, which was trained on synthetic labels alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.json_codec import from_json
from keybed.experiments.data.run_facts import Pair
from keybed.experiments.data.run_folder import read_json
from keybed.experiments.evaluation.rating_results import KIND
from keybed.experiments.percepiano.inputs import standardise_by_passage
from keybed.experiments.percepiano.reader import Ratings
from keybed.experiments.percepiano.windows import Windows, by_item
from keybed.store.errors import KeybedError
from keybed.store.format.recipe import EncoderSpec
from keybed.store.format.vocabulary import DIMENSIONS

if TYPE_CHECKING:
    from keybed.heads.fitted import FitResult
    from keybed.heads.inputs import HeadInput

Floats = NDArray[np.float64]
_WINDOWS = 256
"""Windows whose frames are in memory as float32 at a time."""


def predict_with_run(
    run: Path, store: Path | None, windows: Windows, specs: Sequence[EncoderSpec]
) -> tuple[Pair, dict[str, Floats]]:
    """The run's encoder pair, and head → scores (performance, 8), mean over seeds and over a performance's windows.

    Raises what `heads_of_run` raises.
    """
    from keybed.heads import fitted

    pair, fit = heads_of_run(run, store)
    parts = _parts(_batch(windows, specs, pair, pair.view), fit.config.batch_rows)
    predictions = fitted.predict(fit, parts)
    return pair, {name: by_item(p.mean(axis=0), windows.item) for name, p in predictions.items()}


def compare_with_store(
    store: Path, pair: Pair, windows: Windows, specs: Sequence[EncoderSpec], ratings: Ratings
) -> tuple[dict[str, Floats], dict[str, float | None]]:
    """Predictions of a difference ridge, fitted to the frames of the store's pair, training and validation split.

    Returns source → scores (performance, 8) minus their passage's mean, and dimension → specific r of the differences between
    the rows of the test split that are not pristine. Raises Incomplete, TooFewPieces and NoSegments where the store has no rows
    to fit it to.
    """
    from keybed.experiments.data.features import Features
    from keybed.experiments.data.folds import split_fold
    from keybed.experiments.data.view import View
    from keybed.experiments.evaluation.difference_ridge import fit_difference_ridge, window_features
    from keybed.heads.metrics import specific_r
    from keybed.store import open as open_store

    opened = open_store(store)
    rows = opened.rows()
    features = Features(opened, View(pair.audio, pair.midi), rows)
    fold = split_fold(rows)
    ridge = fit_difference_ridge(features, fold.train, fold.validation)
    test = ridge.differences(features, fold.test)
    degraded = rows.tier[test.position] > 0
    test_r = specific_r(test.predicted["both"][degraded], test.score[degraded], test.valid[degraded])
    parts = [window_features(part) for part in _parts(_batch(windows, specs, pair, "frames"), _WINDOWS)]
    of_windows = {source: np.concatenate([part[source] for part in parts]) for source in parts[0]}
    units = {}
    for source, x in of_windows.items():
        mean = by_item(x.reshape(len(x), -1), windows.item)
        units[source] = standardise_by_passage(mean, ratings).reshape(len(mean), *x.shape[1:])
    predictions = {source: ridge.predict(units, source).astype(np.float64) for source in units}
    return predictions, dict(zip(DIMENSIONS, test_r, strict=True))


def _parts(batch: HeadInput, rows: int) -> list[HeadInput]:
    """The batch in parts of so many rows."""
    return [type(batch)(*(None if a is None else a[i : i + rows] for a in batch)) for i in range(0, batch.n_rows, rows)]


def _batch(windows: Windows, specs: Sequence[EncoderSpec], pair: Pair, kind: str) -> HeadInput:
    """All windows as rows of a store, without labels; kind: "frames" or "layers"."""
    from keybed.heads.inputs import from_arrays

    with_mask = {s.name for s in specs if s.has_mask}
    arrays: dict[str, Any] = {}
    for modality in ("audio", "midi"):
        name = pair.of(modality)
        values = (windows.frames if kind == "frames" else windows.layers)[name]
        arrays[f"{modality}_{kind}"] = values.astype(np.float16)  # as a store keeps them
        if name in with_mask and kind == "frames":
            arrays[f"{modality}_mask"] = windows.mask[name]
    n = windows.item.size
    return from_arrays(
        **arrays,
        score=np.zeros((n, 8), np.float32),
        valid=np.zeros((n, 8), bool),
        segment=np.arange(n),
        row=np.arange(n),
    )


def heads_of_run(run: Path, store: Path | None) -> tuple[Pair, FitResult]:
    """The run's encoder pair and its heads.

    Raises KeybedError where the run was trained on another store, on ratings, or on features that windows do not have.
    """
    from keybed.heads import fitted
    from keybed.store import open as open_store

    results = run / "results.json"
    pair = from_json(Pair, read_json(results).get("pair"), results)
    if read_json(results).get("phase") == KIND:
        raise KeybedError(f"{run} was trained on ratings; give a run of Phase 2 on degraded rows, which met no rating")
    if store is None or pair.view not in ("frames", "layers"):
        raise KeybedError(f"{run} was trained on view {pair.view}: give its --store, and a run on frames or layers")
    fit = fitted.load(run / "heads.npz")
    if fit.store != open_store(store).fingerprint_of((pair.audio, pair.midi)):
        raise KeybedError(f"{run} was trained on another store than {store}; its features mean something else")
    return pair, fit
