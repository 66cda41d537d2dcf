"""The audit of the expected pedal: its folds never share a piece, and what its channels know reaches the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from keybed.experiments.audits import expected_pedal
from keybed.experiments.audits.expected_pedal import CROSS_FITTED, MET, WITHOUT, fit, measure
from keybed.experiments.audits.fingerprints import Config, NotEnoughRows
from keybed.extract.degrade import Variant, unlabelled_variant
from keybed.extract.music.performance import Performance
from keybed.store.format.vocabulary import AXES, DIMENSIONS, Status
from tests.experiments.audits.test_pedal_expectation import legato

PIECES, SEGMENTS = 8, 10


def made() -> list[tuple[int, Variant]]:
    """Rows of eight pieces, four tiers a segment: the later the pedal, the lower its score; the other scores mean nothing."""
    rng = np.random.default_rng(0)
    rows = []
    for piece in range(PIECES):
        for segment in range(SEGMENTS):
            for tier in range(4):
                late_s = rng.uniform(0.0, 0.5) if tier else 0.0
                score = rng.uniform(50, 97, len(DIMENSIONS)).astype(np.float32)
                score[AXES.index("pedal")] = 97.0 - 80.0 * late_s
                row = unlabelled_variant(tier, Status.OK, "", legato(1_000 * piece + segment, late_s))
                rows.append((piece, replace(row, score=score, valid=np.ones(len(DIMENSIONS), bool))))
    return rows


def test_networks_judge_no_piece_that_they_have_met(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = made()
    piece_of = {id(variant.performance): piece for piece, variant in rows}
    tier_of = {id(variant.performance): variant.tier for _, variant in rows}
    monkeypatch.setattr(expected_pedal, "variants_of", lambda _: iter(rows))
    fitted: list[set[int]] = []
    judged: list[set[int]] = []

    def remember(performances: Sequence[Performance]) -> object:
        assert {tier_of[id(p)] for p in performances} == {0}  # networks learn from undegraded playing alone
        fitted.append({piece_of[id(p)] for p in performances})
        return fit(performances)

    plain = expected_pedal._expected
    monkeypatch.setattr(expected_pedal, "fit", remember)
    monkeypatch.setattr(
        expected_pedal,
        "_expected",
        lambda variants, networks: (
            judged.append({piece_of[id(v.performance)] for v in variants}),
            plain(variants, networks),
        )[1],
    )
    found = measure(Config(Path("unread"), folds=4), replicates=50)
    assert found.rows == len(rows)
    assert [a & b for a, b in zip(fitted[:-1], judged[:-1], strict=True)] == [set()] * 4
    assert set().union(*judged[:-1]) == set(range(PIECES))
    assert fitted[-1] == judged[-1] == set(range(PIECES))  # "met": what having heard the piece is worth
    assert set(found.gain) == {CROSS_FITTED, MET}
    assert set(found.r) == {WITHOUT, CROSS_FITTED, MET, "expected pedal alone, cross-fitted"}
    # How late the pedal is stands in its surprise, and nothing else does.
    assert found.r["expected pedal alone, cross-fitted"].value > 0.5
    assert found.r[CROSS_FITTED].low <= found.r[CROSS_FITTED].value <= found.r[CROSS_FITTED].high


def test_too_few_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expected_pedal, "variants_of", lambda _: iter(made()[:40]))
    with pytest.raises(NotEnoughRows, match="1 piece; give at least 5 pieces and 100 rows"):
        measure(Config(Path("unread")))
