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
from keybed.experiments.percepiano.windows import Windows, by_item
from keybed.store.errors import KeybedError
from keybed.store.format.recipe import EncoderSpec

if TYPE_CHECKING:
    from keybed.heads.fitted import FitResult

Floats = NDArray[np.float64]


def predict_with_run(
    run: Path, store: Path | None, windows: Windows, specs: Sequence[EncoderSpec]
) -> tuple[Pair, dict[str, Floats]]:
    """The run's encoder pair, and head → scores (performance, 8), mean over seeds and over a performance's windows.

    Raises what `heads_of_run` raises.
    """
    from keybed.heads import fitted
    from keybed.heads.inputs import from_arrays

    pair, fit = heads_of_run(run, store)
    with_mask = {s.name for s in specs if s.has_mask}
    arrays: dict[str, Any] = {}
    for modality in ("audio", "midi"):
        name, kind = pair.of(modality), pair.view
        values = (windows.frames if kind == "frames" else windows.layers)[name]
        arrays[f"{modality}_{kind}"] = values.astype(np.float16)  # as a store keeps them
        if name in with_mask and kind == "frames":
            arrays[f"{modality}_mask"] = windows.mask[name]
    n = windows.item.size
    batch = from_arrays(
        **arrays,
        score=np.zeros((n, 8), np.float32),
        valid=np.zeros((n, 8), bool),
        segment=np.arange(n),
        row=np.arange(n),
    )
    step = fit.config.batch_rows
    parts = [type(batch)(*(None if a is None else a[i : i + step] for a in batch)) for i in range(0, n, step)]
    predictions = fitted.predict(fit, parts)
    return pair, {name: by_item(p.mean(axis=0), windows.item) for name, p in predictions.items()}


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
