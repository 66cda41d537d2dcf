"""A finished Phase 2 run without training: predictions are scores with noise, and everything after them is computed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from keybed import store as stores
from keybed.experiments.data.folds import Fold, out_of_fold
from keybed.experiments.data.run_facts import Pair, store_facts, this_machine
from keybed.experiments.data.run_folder import start_run, write_json
from keybed.experiments.evaluation.cross_validation import Budget, CrossValidation, scored_rows
from keybed.experiments.evaluation.gate_chain import checksums
from keybed.experiments.evaluation.gates import write_gate
from keybed.experiments.evaluation.inspection import Inspection, Spaces
from keybed.experiments.evaluation.model_names import ALL_HEADS, SWAP_AUDIO, SWAP_MIDI, TIER_SHORTCUT
from keybed.experiments.evaluation.model_selection import choose, compose
from keybed.experiments.evaluation.phase2_results import Phase2Results
from keybed.experiments.evaluation.ridge_probe import RidgeByState
from keybed.experiments.evaluation.saved_predictions import PREDICTIONS, save_predictions
from keybed.experiments.phases.config import Phase2Config
from keybed.experiments.phases.phase2_criteria import phase2_gate
from keybed.experiments.phases.phase2_evaluation import evaluate
from keybed.store.format.rows import Rows

KNOWS = {"audio": 0.5, "midi": 0.4, "concat": 0.8, "cross": 0.7, "gated": 0.6}
"""How much each head's predictions hold of the score, beside noise of the score's own size."""


def predicted(rows: Rows, folds: list[Fold], seeds: int, knows: dict[str, float]) -> CrossValidation:
    """Out-of-fold predictions of made-up heads, with the choices that follow from them."""
    rng = np.random.default_rng(0)
    shape = (seeds, len(rows), rows.score.shape[1])
    deviation = rows.score - rows.score.mean(0)

    def said(strength: float) -> np.ndarray:
        return (75 + strength * deviation + 10 * rng.normal(size=shape)).astype(np.float32)

    heads = {name: said(strength) for name, strength in knows.items()}
    choices = [
        choose(scored_rows(rows.take(f.validation), {n: p[:, f.validation] for n, p in heads.items()})) for f in folds
    ]
    composed: dict[str, np.ndarray] = {}
    for fold, choice in zip(folds, choices, strict=True):
        for name, part in compose({n: p[:, fold.test] for n, p in heads.items()}, choice).items():
            composed.setdefault(name, np.zeros(shape, np.float32))[:, fold.test] = part
    tier = np.broadcast_to(-rows.tier[None, :, None].astype(np.float32), shape)
    everything = {**heads, **composed, SWAP_AUDIO: said(0.2), SWAP_MIDI: said(0.3), TIER_SHORTCUT: tier}
    fold_of = np.zeros(len(rows), np.int64)
    for number, fold in enumerate(folds):
        fold_of[fold.test] = number
    predictions = replace(scored_rows(rows, everything), fold=fold_of)
    return CrossValidation(predictions, rows, tuple(folds), tuple(choices), (), ())


@pytest.fixture(scope="session")
def made_run(
    make_store: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Path, Path]]:
    """made_run(seeds=…, knows=…) -> (store, a fresh copy of a finished run of Phase 2 on it)."""
    store_path = make_store(6, 3)
    kept: dict[tuple[object, ...], Path] = {}

    def make(seeds: int = 2, knows: dict[str, float] | None = None) -> tuple[Path, Path]:
        knows = KNOWS if knows is None else knows
        key = (seeds, *knows.items())
        if key not in kept:
            kept[key] = _write(store_path, tmp_path_factory.mktemp("made"), seeds, knows)
        copy = tmp_path_factory.mktemp("run") / f"phase2-{seeds}-seeds"
        shutil.copytree(kept[key], copy)
        return store_path, copy

    return make


def _write(store_path: Path, out: Path, seeds: int, knows: dict[str, float]) -> Path:
    store = stores.open(store_path)
    start_run(out, Phase2Config(store=store_path, out=out, seeds=seeds, hidden=8, folds=3), store.fingerprint)
    rows = store.rows()
    result = predicted(rows, out_of_fold(rows, 3, seed=0), seeds, knows)
    by_modality = {"audio": 0.1, "midi": 0.1}
    spaces = Spaces(4, 0.1, 0.0, 0.3, by_modality, by_modality, by_modality, {"audio": 10, "midi": 10})
    encoders = tuple(e.name for e in store.recipe.encoders)
    results = Phase2Results(
        phase=2,
        store=store_facts(store),
        pair=Pair("test-audio", "test-midi", "frames"),
        budget=Budget(seeds=seeds).fit_config(100).to_json(),
        evaluation=evaluate(result),
        test_split=None,
        ridge=RidgeByState(dict.fromkeys(encoders, (0.1,)), {}, 100),
        inspection=Inspection(None, None, spaces),
        history=({"validation": {name: [0.1] * seeds for name in ALL_HEADS}},),
        machine=this_machine(),
        seconds=1.0,
    )
    write_json(out / "results.json", results)
    save_predictions(out, result.predictions, result.rows.index)
    (out / "heads.npz").write_bytes(b"no heads were trained")
    names = ("config.json", "results.json", "heads.npz", PREDICTIONS)
    write_gate(out, phase2_gate(results, checksums(out, store.fingerprint, names)))
    return out
