"""Ridge on constructed blocks: what knows an axis is found, and specialists take it for that axis."""

from __future__ import annotations

import numpy as np
import pytest

from keybed.experiments.audits.specific_r import Judged, specific_r
from keybed.experiments.audits.transkun_parts import Rows, agreement_lines, predict, specialists
from keybed.extract.encoders.transcribed.fidelity import MEASURES


def test_specialists_take_for_each_axis_the_block_that_knows_it() -> None:
    rng = np.random.default_rng(0)
    n = 192
    score = rng.normal(70, 10, (n, 8)).astype(np.float32)
    noise = rng.normal(0, 1, (2, n, 30)).astype(np.float32)
    one, other = noise
    one[:, 3], other[:, 5] = score[:, 1] / 10, score[:, 4] / 10  # one knows timing, the other tone
    rows = Rows(
        {"one": one, "other": other},
        Judged(score, np.ones((n, 8), bool), np.repeat(np.arange(12), 16)),
        np.zeros(n, int),
        None,
    )
    predictions, errors = predict(rows, {"one": ("one",), "other": ("other",), "both": ("one", "other")})
    apart = specialists({k: predictions[k] for k in ("one", "other")}, {k: errors[k] for k in ("one", "other")}, rows)
    found = predictions | {"specialists": apart}
    timing, tone = (specific_r(rows.judged, found, axis, 50) for axis in ("timing", "tone"))
    assert timing["one"].value > 0.95 > 0.3 > abs(timing["other"].value)
    assert tone["other"].value > 0.95 > 0.3 > abs(tone["one"].value)
    assert min(timing["both"].value, tone["both"].value) > 0.9
    np.testing.assert_array_equal(apart[:, 1], predictions["one"][:, 1])
    np.testing.assert_array_equal(apart[:, 4], predictions["other"][:, 4])
    assert timing["specialists"].value == pytest.approx(timing["one"].value)


def test_agreement_is_a_mean_over_the_rows_where_an_axis_is_good_and_where_it_is_poor() -> None:
    score = np.full((4, 8), 75.0, np.float32)
    score[:, 0] = [95, 92, 50, 20]
    valid = np.zeros((4, 8), bool)
    valid[:, 0] = True
    measures = np.full((4, len(MEASURES)), np.nan, np.float32)
    measures[:, MEASURES.index("note_f1")] = [1.0, 0.8, 0.5, np.nan]
    lines = list(agreement_lines(Judged(score, valid, np.arange(4)), measures))
    (notes,) = lines[2:]  # no other axis has rows of both kinds
    assert notes.split()[:4] == ["notes", "0.90", "to", "0.50"]
    assert "nan" in notes
