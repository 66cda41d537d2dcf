"""Windows of a recording have the derived features that `keybed derive` gave the same row of the store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from keybed.experiments.data.features import Features
from keybed.experiments.data.view import View
from keybed.experiments.evaluation.model_names import FINAL_FUSION
from keybed.experiments.evaluation.phase3_results import Phase3Results
from keybed.experiments.evaluation.saved_predictions import load_predictions
from keybed.experiments.phases.config import Phase2Config, Phase3Config, Phase4Config
from keybed.experiments.phases.phase2 import run_phase2
from keybed.experiments.phases.phase3 import run_phase3
from keybed.experiments.phases.phase4 import run_phase4
from keybed.experiments.reports.results import read_results
from keybed.experiments.scoring.derived_view import Arrays, constants_of
from keybed.experiments.scoring.from_run import model_of_run
from keybed.experiments.scoring.pack import read_pack, write_pack
from keybed.experiments.scoring.source import Source
from keybed.experiments.scoring.windows import WindowEncoder
from keybed.extract.audio.render import Renderer
from keybed.extract.config import ExtractConfig, PlanConfig
from keybed.extract.degrade import prepare
from keybed.extract.music.notes_file import load_notes
from keybed.extract.planning.plan import plan
from keybed.extract.run.check_recipe import planned_encoders, render_files
from keybed.extract.run.task import extract
from keybed.heads import fitted
from keybed.heads.inputs import HeadInput
from keybed.store.derive.derive import DeriveConfig, derive
from keybed.store.format.layout import Layout
from keybed.store.read.opening import open_store
from keybed.store.read.store import Store


@pytest.fixture(scope="module")
def derived_store(tiny_maestro: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """24 rows with the two baselines, and every view of them."""
    path = tmp_path_factory.mktemp("derived") / "store"
    plan(PlanConfig(tiny_maestro, path, encoders=("logmel", "expressive"), limit=6, shard_rows=8, jobs=1))
    extract(ExtractConfig(path, workers=0))
    derive(DeriveConfig(path, pca=5))
    return open_store(path)


def made_again(store: Store, view: View, constants: Mapping[str, Arrays] | None = None) -> tuple[HeadInput, HeadInput]:
    """The pristine rows from the store's own view, and made anew from the notes as windows of a recording are."""
    rows = store.rows(tiers=["pristine"])
    files = render_files(store.recipe, store.machine_paths, corpus=False)
    encoder = WindowEncoder(
        view,
        planned_encoders(store.recipe, store.machine_paths),
        Renderer(files.soundfont, files.bank),
        float(store.recipe.segments["window_s"]),
        int(store.recipe.degradation["seed"]),
        constants_of(store, view) if constants is None else constants,
    )
    made = []
    for number, start_s in zip(rows.recording.tolist(), rows.start_s.tolist(), strict=True):
        notes = load_notes(Layout(store.path).notes_of(number))
        source = Source("row", None, None, "midi", notes, 30.0)
        made.append(encoder._row(source, prepare(notes), number, start_s))
    again = encoder._inputs(tuple(made), 0)
    assert again is not None
    return Features(store, view, rows).batch(np.arange(len(rows))), again


@pytest.mark.parametrize("kind", ["frames", "layers", "pooled", "int8", "pca5"])
def test_a_window_has_the_features_of_the_view(derived_store: Store, kind: str) -> None:
    stored, again = made_again(derived_store, View("logmel", "expressive", kind))
    assert again.n_rows >= 3
    names = [n for n in HeadInput._fields if n.startswith(("audio_", "midi_")) and getattr(stored, n) is not None]
    assert names == [
        n for n in HeadInput._fields if n.startswith(("audio_", "midi_")) and getattr(again, n) is not None
    ]
    for name in names:
        left, right = getattr(stored, name), getattr(again, name)
        assert left.dtype == right.dtype
        np.testing.assert_allclose(left.astype(np.float32), right.astype(np.float32), rtol=2e-3, atol=2e-3)


@pytest.mark.slow
def test_a_window_has_the_score_that_phase_4_predicted_out_of_fold(
    derived_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Phase 2 on a PCA view, Phase 3 with --blockwise, Phase 4; the model of the run, and the same after packing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    console, path = Console(quiet=True), derived_store.path
    phase2, phase3, phase4 = (tmp_path / name for name in ("phase2", "phase3", "phase4"))
    run_phase2(Phase2Config(path, phase2, view="pca5", epochs=1, seeds=2, hidden=8, folds=3), console)
    run_phase3(Phase3Config(path, phase2, phase3, override="a test", blockwise=True, epochs=1), console)
    by_state = read_results(phase3, Phase3Results).depth
    assert {m: len(values) for m, values in by_state.items()} == {"audio": 1, "midi": 1}, "states of the two baselines"
    run_phase4(Phase4Config(path, phase3, phase4, override="a test", seeds=2, ablations=False), console)
    assert {folder.name for folder in (phase4 / "checkpoints").iterdir()} >= {
        "raw",
        "raw-20-epochs",
        "aligned-20-epochs",
    }
    model = model_of_run(phase4)
    assert model.view.kind == "pca5"
    saved = load_predictions(phase4)
    rows = derived_store.rows(tiers=["pristine"])
    ours = np.flatnonzero(np.isin(rows.index, saved.index[saved.fold == 0]))
    assert ours.size >= 1
    expected = saved.by_model[FINAL_FUSION][:, np.searchsorted(saved.index, rows.index[ours])]
    write_pack(tmp_path / "model.keybed", model)
    for one in (model, read_pack(tmp_path / "model.keybed")):
        _, again = made_again(derived_store, one.view, one.constants)
        (inputs,) = one.inputs([again])
        predicted = fitted.predict(one.fit, [inputs])[one.head][:, ours]
        np.testing.assert_allclose(predicted, expected, atol=0.02)
