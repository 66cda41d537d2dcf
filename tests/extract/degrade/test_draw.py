from __future__ import annotations

import numpy as np
import pytest

from keybed.extract.degrade import UNTOUCHED, draw_levels
from keybed.extract.degrade.draw import draw_scores
from keybed.extract.degrade.row_key import RowKey
from keybed.store.format.vocabulary import AXES

BANDS = {0: (95, 100), 1: (80, 95), 2: (65, 80), 3: (50, 65)}


def test_pristine_rows_aim_at_nothing() -> None:
    for profile in ("mixed", "tiered"):
        np.testing.assert_array_equal(draw_levels(0, 3, 6.2, 0, profile), UNTOUCHED)


def test_tiered_scores_lie_in_their_tiers_band() -> None:
    for tier in (1, 2, 3):
        scores = np.array([draw_scores(5, r, 6.2 * r, tier, "tiered") for r in range(300)])
        assert scores.min() >= BANDS[tier][0]
        assert scores.max() < BANDS[tier][1]
        assert scores.mean() == pytest.approx(sum(BANDS[tier]) / 2, abs=0.4)


def test_mixed_scores_take_the_rows_tier_a_quarter_of_the_time_and_the_shares_otherwise() -> None:
    scores = np.array([draw_scores(5, r, 6.2 * r, 3, "mixed") for r in range(3000)])
    edges = [50, 65, 80, 95, 100.0001]
    share = np.histogram(scores, edges)[0] / scores.size
    want = 0.75 * np.array([0.15, 0.25, 0.30, 0.30]) + 0.25 * np.array([1, 0, 0, 0])
    # 21,000 draws: three standard errors are below 0.011.
    np.testing.assert_allclose(share, want, atol=0.011)
    correlation = np.corrcoef(scores.T)[np.triu_indices(len(AXES), 1)]
    assert np.abs(correlation).max() < 0.08


def test_a_row_repeats_and_its_neighbours_differ() -> None:
    row = (1, 17, 62.0, 2, "mixed")
    np.testing.assert_array_equal(draw_levels(*row), draw_levels(*row))
    for other in ((2, 17, 62.0, 2), (1, 18, 62.0, 2), (1, 17, 62.0000001, 2), (1, 17, 62.0, 3)):
        assert (draw_levels(*row) != draw_levels(*other, "mixed")).any()


def test_streams_of_a_row_are_independent() -> None:
    key = RowKey(0, 0, 0.0, 1)
    a, b = (key.generator(name).standard_normal(20_000) for name in ("timing", "pedal"))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.03


def test_the_generator_is_the_documented_one() -> None:
    import hashlib
    import struct

    digest = hashlib.sha256(b"timing\0" + struct.pack("<qqdq", 9, 4, 12.4, 2)).digest()
    number = int.from_bytes(digest[:16], "little")
    want = np.random.Generator(np.random.Philox(key=number)).random(4)
    np.testing.assert_array_equal(RowKey(9, 4, 12.4, 2).generator("timing").random(4), want)


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(ValueError, match="mixed, tiered"):
        draw_levels(0, 0, 0.0, 1, "wild")
