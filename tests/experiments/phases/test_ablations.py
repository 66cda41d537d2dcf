"""The ablation table on a small store: every term together beside InfoNCE alone, kept, written and continued."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from keybed import store as stores
from keybed.experiments.data.features import Features
from keybed.experiments.data.folds import split_fold
from keybed.experiments.data.json_codec import from_json
from keybed.experiments.data.run_folder import read_json
from keybed.experiments.data.view import View
from keybed.experiments.evaluation import ablation_results as names
from keybed.experiments.evaluation import alignment
from keybed.experiments.evaluation.ablation_measures import mean_depth, state_alignment
from keybed.experiments.evaluation.ablation_results import Ablations
from keybed.experiments.phases.phase3_ablations import ABLATIONS, BASE, LINES, lines_for, print_ablations, run_ablations
from keybed.heads import align
from keybed.heads.align import AlignConfig, Terms
from keybed.heads.fit_config import FitConfig

EVERY = Terms(local=0.3, hard_negatives=0.15, codewords=40, tokens=2, mismatch=0.2, blockwise=0.5, quality=1.0)


def test_a_store_with_one_variant_per_segment_has_no_mismatch_line(make_store: Callable[..., Path]) -> None:
    rows = stores.open(make_store(8, 3)).rows()
    assert lines_for(rows) == LINES
    left_out = LINES.keys() - lines_for(rows.take(np.flatnonzero(rows.tier == 2))).keys()
    assert left_out == {"mismatch"}


@pytest.mark.slow
def test_every_term_beside_the_base(
    make_store: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stores.open(make_store(8, 3))
    features = Features(store, View("test-audio", "test-midi", layers_too=True), store.rows())
    fit = FitConfig(epochs=2, batch_rows=16, seeds=(0,), patience=0)
    config = AlignConfig(hidden=6, width=8, fit=fit)
    given = {"fingerprint": store.fingerprint, "out": tmp_path, "seeds": 2, "progress": None}
    lines = {BASE: Terms(), "all": EVERY}
    folds = [split_fold(features.rows)]
    table = run_ablations(features, folds, config, lines=lines, **given)
    assert (table.rows, table.seeds, table.folds) == (len(folds[0].test), 2, 1)
    base, every = table.lines
    assert np.isnan(base.measures[names.AUC].value)
    assert all(np.isfinite(every.measures[name].value) for name in names.MEASURES)
    assert every.differences[names.R10].value == pytest.approx(
        every.measures[names.R10].value - base.measures[names.R10].value
    )
    assert table.chance[names.OWN] == 0.25
    assert {m: len(s) for m, s in every.states.items()} == {"audio": 2, "midi": 2}
    of_line = replace(config, fit=replace(fit, seeds=(0, 1)), terms=EVERY)
    kept = alignment.fit_projections(
        features, folds[0], of_line, store.fingerprint, tmp_path / "ablations" / "all", None
    )
    by_state = state_alignment(kept, features, alignment.embed(kept, features, folds[0], folds[0].test))
    for m in ("audio", "midi"):
        assert by_state[m] == pytest.approx(every.states[m], abs=1e-6)
    assert mean_depth([by_state, dict.fromkeys(by_state, (0.0, 0.0))])["midi"][1] == pytest.approx(
        by_state["midi"][1] / 2
    )
    assert all(0 < use.used <= 1 for use in every.codewords.values())
    on_disk = from_json(Ablations, read_json(tmp_path / ABLATIONS), tmp_path / ABLATIONS)
    assert on_disk.lines[1].measures[names.OWN] == every.measures[names.OWN]
    printed = Console(width=80, record=True, file=io.StringIO())
    lines_of_table = tuple(replace(base, name=name) for name in LINES)
    print_ablations(printed, replace(on_disk, lines=lines_of_table))
    text = printed.export_text()
    assert "…" not in text
    assert {word for name in names.MEASURES for word in name.split()} <= set(text.split())
    assert [line for line in LINES if f"\n{line} " in text] == list(LINES)
    monkeypatch.setattr(align, "fit_projection", None)  # a second start trains nothing
    again = run_ablations(features, folds, config, lines=lines, **given)
    assert again.lines[1].measures == pytest.approx(every.measures)

    kept = alignment.load_projections(alignment.projection_path(tmp_path / "ablations" / "all", folds[0]))
    assert kept.config.terms == EVERY
    read = alignment.aligned_features(kept, features, memory_gib=1.0, folder=tmp_path, say=print)
    batch = read.batch(np.arange(5))
    assert batch.audio_BxTxC.shape == batch.midi_BxTxC.shape == (5, 2, 16)
    assert batch.midi_mask_BxT.shape == (5, 2)
