"""The ablation table's measures against plain counts, on embeddings that are made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from keybed import store as stores
from keybed.experiments.evaluation import ablation_results as names
from keybed.experiments.evaluation import diagnostics
from keybed.experiments.evaluation.ablation_measures import MeasuredFold, codeword_use, compare_lines
from keybed.experiments.evaluation.alignment import Embeddings
from keybed.experiments.evaluation.alignment_measures import variant_recall
from keybed.experiments.evaluation.alignment_rows import bin_hits, own_variant_hits, partner_ranks
from keybed.experiments.evaluation.linear_probe import area_under_roc
from keybed.store.format.rows import Rows


def test_bins_find_their_neighbours_and_chance_is_counted() -> None:
    """Row 0: one-hot bins; MIDI bin 3 looks like bin 0. Row 1: a single valid bin. Row 2: none."""
    audio = np.tile(np.eye(4)[None], (3, 1, 1))
    midi = audio.copy()
    midi[0, 3] = midi[0, 0] * 0.5
    mask = np.array([[1, 1, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]], bool)
    hit, chance = bin_hits(audio, midi, mask)
    # audio bins 0, 1, 2 find themselves; audio bin 3 finds nothing, and the first of the equal cosines is bin 0: a miss.
    # MIDI bins 0, 1, 2 find themselves, MIDI bin 3 finds audio bin 0: a miss
    assert hit[0] == pytest.approx(0.75)
    assert chance[0] == pytest.approx((2 + 3 + 3 + 2) / 16)
    assert (hit[1], chance[1]) == (1, 1)
    assert np.isnan(hit[2])
    assert np.isnan(chance[2])


def test_one_variant_per_segment_gives_no_recall_among_variants(make_store: Callable[..., Path]) -> None:
    rows = stores.open(make_store(4, 2)).rows()
    one_each = np.flatnonzero(rows.tier == 0)
    x = diagnostics.unit(np.random.default_rng(0).normal(size=(len(one_each), 3)))
    hit, chance = own_variant_hits(x, x, rows.segment[one_each])
    assert np.isnan(hit).all()
    assert np.isnan(chance).all()
    interval, by_chance = variant_recall([Embeddings(one_each, x, x)], rows)
    assert np.isnan([interval.value, interval.low, interval.high, by_chance]).all()


def made_fold(rows: Rows, noise: float, seed: int) -> MeasuredFold:
    rng = np.random.default_rng(seed)
    n = len(rows)
    midi = rng.normal(size=(n, 6))
    audio, midi = (diagnostics.unit(x) for x in (midi + noise * rng.normal(size=(n, 6)), midi))
    own, _ = own_variant_hits(audio, midi, rows.segment)
    by_row = {name: rng.random(n) for name in (names.BINS, names.OWN_BY_BINS, names.R1)}
    by_row |= {names.OWN: own, names.R10: partner_ranks(audio, midi, rows.piece)[0] < 10}
    by_row[names.BINS][3] = np.nan
    ridge = (rows.score + 5 * noise * rng.normal(size=rows.score.shape)).astype(np.float32)
    logits = np.stack([rng.normal(size=n), 1 + rng.normal(size=n)], axis=1)
    logits[5] = np.nan
    return MeasuredFold(Embeddings(np.arange(n), audio, midi), by_row, logits if noise < 1 else None, ridge, None, None)


def test_lines_are_compared_on_the_same_rows(make_store: Callable[..., Path]) -> None:
    rows = stores.open(make_store(6, 3)).rows()
    measured = {
        "base": [[made_fold(rows, 1.0, s) for s in (1, 2)]],
        "better": [[made_fold(rows, 0.3, s) for s in (3, 4)]],
    }
    compared = compare_lines(measured, [rows.score.astype(np.float32)], rows)
    base, better = compared["base"][0], compared["better"][0]
    for name, measures in (("base", base), ("better", better)):
        seeds = measured[name][0]
        for key in (names.BINS, names.OWN, names.OWN_BY_BINS, names.R1, names.R10):
            assert measures[key].value == pytest.approx(np.mean([np.nanmean(s.by_row[key]) for s in seeds])), key
        expected = np.mean([diagnostics.alignment(s.embeddings.audio, s.embeddings.midi) for s in seeds])
        assert measures[names.ALIGNMENT].value == pytest.approx(expected, abs=0.02)  # that one centres once more
    assert compared["base"][1] == {}
    difference = compared["better"][1][names.ALIGNMENT]
    assert difference.value == pytest.approx(better[names.ALIGNMENT].value - base[names.ALIGNMENT].value)
    assert difference.above_zero
    assert np.isnan(base[names.AUC].value)
    kept = [np.delete(s.logits, 5, axis=0) for s in measured["better"][0]]
    auc = np.mean([area_under_roc(x[:, 1], x[:, 0]) for x in kept])
    assert better[names.AUC].value == pytest.approx(auc)
    assert better[names.AUC].low < auc < better[names.AUC].high
    assert 0 < base[names.RETENTION].value < better[names.RETENTION].value < 1


def test_codeword_use_tells_a_collapsed_codebook() -> None:
    spread, collapsed = np.eye(8), np.tile(np.eye(8)[:1], (8, 1))
    assert vars(codeword_use(spread)) == pytest.approx({"used": 1.0, "perplexity": 8.0, "per_row": 1.0})
    assert vars(codeword_use(collapsed)) == pytest.approx({"used": 0.125, "perplexity": 1.0, "per_row": 1.0})
    assert codeword_use(np.zeros((3, 4))).perplexity == 0
