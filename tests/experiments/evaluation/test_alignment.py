"""Retrieval against the plain count, and aligned features that are the same wherever they lie."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from keybed import store as stores
from keybed.experiments.data.features import Features
from keybed.experiments.data.fold_data import FoldData
from keybed.experiments.data.folds import out_of_fold, split_fold
from keybed.experiments.data.json_codec import plain
from keybed.experiments.data.view import View
from keybed.experiments.evaluation import alignment, alignment_measures, alignment_rows, diagnostics
from keybed.heads import align
from keybed.heads.align import AlignConfig, AlignResult
from keybed.heads.errors import CheckpointMismatch, FileDamaged
from keybed.heads.fit_config import FitConfig
from keybed.heads.normalisation import measure
from keybed.store.errors import NoDiskSpace


def test_retrieval_against_the_plain_count(make_store: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = stores.open(make_store(4, 4)).rows()
    rng = np.random.default_rng(0)
    midi = rng.normal(size=(48, 6))
    audio = midi + rng.normal(size=(48, 6))
    embeddings = alignment.Embeddings(np.arange(8, 56), audio, midi)
    monkeypatch.setattr(alignment_rows, "_QUERIES_AT_ONCE", 7)
    recall = plain(alignment_measures.retrieval(embeddings, rows))
    assert recall["rows"] == 48
    piece = rows.piece[8:56]
    for name, asking, answers in (("audio_to_midi", audio, midi), ("midi_to_audio", midi, audio)):
        for extra, near in (("", False), (", same piece", True)):
            ranks = []
            for i in range(48):
                rivals = [j for j in range(48) if not near or piece[j] == piece[i]]
                ranks.append(sum(asking[i] @ answers[j] > asking[i] @ answers[i] for j in rivals))
            expected = {f"R@{r}": float(np.mean(np.array(ranks) < r)) for r in (1, 5, 10)}
            assert recall[name + extra] == pytest.approx(expected)


def test_alignment_with_an_interval_is_the_alignment_of_the_feature_spaces(make_store: Callable[..., Path]) -> None:
    """Phase 3's number on one fold is Phase 2's on the same rows, centred on their own mean."""
    rows = stores.open(make_store(4, 4)).rows()
    rng = np.random.default_rng(2)
    midi = rng.normal(size=(48, 6))
    audio = midi + rng.normal(size=(48, 6))
    embeddings = alignment.Embeddings(np.arange(8, 56), diagnostics.unit(audio), diagnostics.unit(midi))
    interval = alignment_measures.alignment_interval([embeddings], rows)
    assert interval.value == pytest.approx(diagnostics.alignment(audio, midi), abs=1e-12)


def test_alignment_of_a_resample_against_the_plain_count(
    make_store: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces drawn 2, 1 and 0 times: every draw is a piece, and a row never meets a copy of its own piece."""
    rows = stores.open(make_store(4, 4)).rows()
    chosen = np.flatnonzero(np.isin(rows.piece, np.unique(rows.piece)[:3]))
    rng = np.random.default_rng(1)
    midi = rng.normal(size=(len(chosen), 6)) + rows.piece[chosen][:, None]
    audio = midi + rng.normal(size=midi.shape)
    seen = []
    monkeypatch.setattr(alignment_measures, "intervals", lambda statistic, *_: seen.append(statistic) or [None])
    alignment_measures.alignment_interval([alignment.Embeddings(chosen, audio, midi)], rows)
    draws = [np.flatnonzero(rows.piece[chosen] == np.unique(rows.piece)[p]) for p in (0, 0, 1)]
    paired = [audio[i] @ midi[i] for draw in draws for i in draw]
    unpaired = [
        audio[i] @ midi[j]
        for a, mine in enumerate(draws)
        for b, theirs in enumerate(draws)
        for i in mine
        for j in theirs
        if (a == b and i != j) or (a != b and mine[0] != theirs[0])
    ]
    resampled = seen[0](np.array([[2.0, 1.0, 0.0]]), np.ones((1, 1)))
    assert resampled[0, 0] == pytest.approx(np.mean(paired) - np.mean(unpaired))


@pytest.mark.slow
def test_aligned_features_are_the_same_in_memory_and_on_disk(
    make_store: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = stores.open(make_store(6, 4))
    features = Features(opened, View("test-audio", "test-midi"), opened.rows())
    fold = split_fold(features.rows)
    config = AlignConfig("infonce", 16, 8, 0.07, 10.0, FitConfig(epochs=1, batch_rows=32, seeds=(0,), patience=0))
    result = alignment.fit_projections(features, fold, config, opened.fingerprint, tmp_path, None)
    messages: list[str] = []
    in_memory, on_disk = (
        alignment.aligned_features(result, features, memory_gib=gib, folder=tmp_path, say=messages.append)
        for gib in (4.0, 0.0)
    )
    assert len(messages) == 1
    assert "on the disk of" in messages[0]
    assert isinstance(on_disk.array("audio_frames", np.arange(2)), np.ndarray)
    assert [p.name for p in tmp_path.iterdir()] == ["projection-test-split.npz"]
    positions = np.random.default_rng(0).permutation(len(features.rows))[:40]
    for name in ("audio_BxTxC", "midi_BxTxC", "midi_mask_BxT"):
        mine, theirs = (getattr(f.batch(positions), name) for f in (in_memory, on_disk))
        np.testing.assert_array_equal(mine, theirs)
    assert in_memory.batch(positions).audio_BxTxC.shape == (40, 4, 8)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(NoDiskSpace, match="no disk space left"):
        alignment.aligned_features(result, features, memory_gib=0.0, folder=tmp_path, say=messages.append)


def test_projections_of_another_fold_or_another_setting_are_not_taken_up(
    make_store: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another fold's projections have seen this fold's test rows."""
    store = stores.open(make_store(6, 3))
    features = Features(store, View("test-audio", "test-midi"), store.rows())
    folds = out_of_fold(features.rows, 3, seed=0)
    config = AlignConfig(hidden=6, width=4, fit=FitConfig(epochs=1, batch_rows=16, seeds=(0,)))

    def drawn(data: FoldData, config: AlignConfig, *, store: str, progress: object) -> AlignResult:
        normalisation = measure(data.train(0), batch_rows=16, max_rows=None)
        layer = {"hidden": (10, 6), "bend": (6, 4)}
        one = {name: {"kernel": np.ones((1, *shape)), "bias": np.ones((1, shape[1]))} for name, shape in layer.items()}
        one["line"] = {"kernel": np.ones((1, 10, 4))}
        params = {"audio": one, "midi": one, "log_temperature": np.zeros(1), "bias": np.zeros(1)}
        return AlignResult(config, params, normalisation, [], [0], store)

    monkeypatch.setattr(align, "fit_projection", drawn)

    def fit(number: int, config: AlignConfig = config) -> AlignResult:
        return alignment.fit_projections(features, folds[number], config, store.fingerprint, tmp_path, None)

    first, second = (fit(n) for n in (0, 1))
    monkeypatch.setattr(align, "fit_projection", None)  # a second start trains nothing
    assert fit(0).normalisation.score_mean_K == pytest.approx(first.normalisation.score_mean_K)
    with pytest.raises(CheckpointMismatch, match="with another configuration; delete it or give another --out"):
        fit(0, replace(config, temperature=0.1))
    paths = [alignment.projection_path(tmp_path, fold) for fold in folds[:2]]
    whole = paths[0].read_bytes()
    paths[0].write_bytes(paths[1].read_bytes())
    with pytest.raises(CheckpointMismatch, match=r"projection-fold-1-of-3\.npz: was trained on .*other rows"):
        fit(0)
    paths[0].write_bytes(whole[:-100])
    with pytest.raises(FileDamaged, match=r"projection-fold-1-of-3\.npz is damaged.*delete it and run the phase"):
        fit(0)
    assert second.store == store.fingerprint
