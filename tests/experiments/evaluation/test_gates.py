"""Verdicts from outcomes, thresholds at their edges, and the rules of fusion gain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from keybed.experiments.evaluation import fusion_gain as gains_module
from keybed.experiments.evaluation.criteria import above_zero, at_least, at_most, below, more_than
from keybed.experiments.evaluation.fusion_gain import Gains, gain_criteria, gains, reading
from keybed.experiments.evaluation.gates import GateRefused, make_gate, read_gate, verdict_of, write_gate
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.model_names import BEST_FUSION, BEST_SINGLE, BEST_SINGLE_WITHOUT_TONE, SPECIALISTS
from keybed.experiments.evaluation.predictions import Predictions

NAN = float("nan")


@pytest.mark.parametrize(
    ("interval", "outcome"),
    [
        (Interval(0.10, 0.02, 0.2), "pass"),
        (Interval(0.0999, 0.02, 0.2), "fail"),
        (Interval(0.30, -0.01, 0.6), "fail"),
        (Interval(0.30, NAN, NAN), "undefined"),
        (Interval(NAN, NAN, NAN), "undefined"),
    ],
)
def test_at_least_with_a_lower_bound(interval: Interval, outcome: str) -> None:
    assert at_least("gain", interval, 0.10, "", above_zero=True).outcome == outcome


def test_more_than_and_below_are_strict() -> None:
    assert more_than("r", Interval(0.5, 0.4, 0.6), 0.5, "").outcome == "fail"
    assert below("slope", Interval(0.1, 0, 0.2), 0.1, "").outcome == "fail"
    assert below("slope", Interval(0.099, 0, 0.2), 0.1, "").outcome == "pass"


def test_the_threshold_of_a_criterion_is_read_from_the_gate() -> None:
    wide = Interval(0.3, 0.1, 0.5)
    gate = make_gate(
        2,
        [at_least("gain", wide, 0.15, "", above_zero=True), below("slope", wide, 0.1, "")],
        [above_zero("l", wide, "")],
        {},
    )
    assert (gate.criterion("gain").bound, gate.criterion("slope").bound) == (0.15, 0.1)
    with pytest.raises(KeyError, match="no criterion 'other'"):
        gate.criterion("other")
    with pytest.raises(ValueError, match="no number"):
        _ = gate.criterion("l").bound


def test_the_headline_says_every_condition_that_decided() -> None:
    """A gain of +10.1 % passes ≥ 10 % and fails by its interval; names with commas are quoted."""
    gain = at_least("fusion gain", Interval(0.101, -0.0204, 0.21), 0.10, "", above_zero=True)
    each = more_than("technical, each", Interval(0.12, 0.1, 0.2), 0.2, "")
    mean = more_than("technical, mean of four", Interval(NAN, NAN, NAN), 0.5, "")
    fine = above_zero("fine", Interval(1, 0.5, 2), "")
    gate = make_gate(4, [gain, each, mean, fine], [fine], {})
    assert gate.verdict == "NO-GO"
    assert gate.headline == (
        "1 of 4 criteria holds. Fails: “fusion gain” (lower bound −0.020 is not > 0); "
        "“technical, each” (0.120 is not > 0.2). Undefined: “technical, mean of four” (no value)."
    )
    assert gain.asked(percent=True) == "≥ 10 %, lower bound > 0 %: fail (lower bound −2.0 % is not > 0 %)"
    low = at_least("g", Interval(0.05, -0.1, 0.2), 0.1, "", above_zero=True)
    assert low.why() == "0.050 is not ≥ 0.1 and lower bound −0.100 is not > 0"
    assert (
        at_least("g", Interval(0.05, NAN, NAN), 0.1, "", above_zero=True).why() == "0.050 is not ≥ 0.1 and no interval"
    )
    assert make_gate(4, [fine], [fine], {}).headline == "The one criterion holds."


def test_a_value_just_off_its_bound_does_not_read_as_the_bound() -> None:
    assert at_least("gain", Interval(0.0999996, 0.02, 0.2), 0.10, "").why() == "0.0999996 is not ≥ 0.1"
    assert more_than("r", Interval(0.5, 0.4, 0.6), 0.5, "").why() == "0.500 is not > 0.5"
    assert at_least("gain", Interval(0.09996, 0.02, 0.2), 0.10, "").why(percent=True) == "9.996 % is not ≥ 10 %"


def test_counts_read_as_counts() -> None:
    assert at_least("dimensions", Interval(2.0, NAN, NAN), 3, "").why() == "2 is not ≥ 3"


def test_at_most_may_be_negative() -> None:
    assert at_most("uniformity", Interval(-0.5, NAN, NAN), -0.5, "").outcome == "pass"
    close = at_most("uniformity", Interval(-0.4, NAN, NAN), -0.5, "")
    assert (close.threshold, close.bound, close.outcome) == ("≤ −0.5", -0.5, "fail")
    assert close.why() == "−0.400 is not ≤ −0.5"


def test_verdicts() -> None:
    good, bad = above_zero("a", Interval(1, 0.5, 2), ""), above_zero("b", Interval(1, -0.5, 2), "")
    unknown, shown = (
        above_zero("c", Interval(NAN, NAN, NAN), ""),
        above_zero("d", Interval(1, -1, 2), "", required=False),
    )
    assert verdict_of([good, shown]) == "GO"
    assert verdict_of([good, unknown]) == "UNDEFINED"
    assert verdict_of([good, unknown, bad]) == "NO-GO"
    with pytest.raises(ValueError, match="says nothing"):
        verdict_of([shown])


def test_a_no_go_carries_the_plans_advice_and_survives_the_disk(tmp_path: Path) -> None:
    bad = above_zero("b", Interval(1, -0.5, 2), "sum")
    gate = make_gate(2, [bad], [bad], {"store": "f"})
    assert gate.advice is not None
    assert "simpler fusion" in gate.advice
    write_gate(tmp_path, gate)
    assert read_gate(tmp_path) == gate
    with pytest.raises(GateRefused, match="absent"):
        read_gate(tmp_path / "nowhere")


def test_a_tiered_store_never_says_go_by_itself() -> None:
    good = above_zero("a", Interval(1, 0.5, 2), "")
    gate = make_gate(2, [good], [good], {}, literal_only=True)
    assert (gate.verdict, gate.literal_verdict) == ("UNDEFINED", "GO")


def _predictions(knows: dict[str, np.ndarray], n_pieces: int = 30, noise: float = 1.0) -> Predictions:
    """Models that know dimension k with strength knows[name][k]; independent noise."""
    rng = np.random.default_rng(0)
    n = n_pieces * 24
    score = rng.normal(75, 12, (n, 8)).astype(np.float32)
    z = (score - 75) / 12
    predicted = {name: (k * z + noise * rng.normal(size=(3, n, 8))).astype(np.float32) for name, k in knows.items()}
    piece = np.repeat(np.arange(n_pieces), 24).astype(np.int32)
    return Predictions(
        predicted,
        score,
        np.ones((n, 8), bool),
        np.tile([0, 1, 2, 3], n // 4).astype(np.uint8),
        np.repeat(np.arange(n // 4), 4).astype(np.int32),
        piece,
        np.zeros((n, 6), np.float32),
    )


def _gains(*, fusion: np.ndarray, single: np.ndarray, specialists: np.ndarray) -> Gains:
    return gains(
        _predictions(
            {BEST_FUSION: fusion, BEST_SINGLE: single, BEST_SINGLE_WITHOUT_TONE: single, SPECIALISTS: specialists}
        )
    )


def test_complementary_is_not_fused() -> None:
    audio, both = np.array([0, 0, 0, 0, 1, 1, 1, 0.5]), np.array([1, 1, 1, 1, 1, 1, 1, 1.0])
    measured = _gains(fusion=both, single=audio, specialists=both)
    a, b, _ = gain_criteria(measured, 0.10)
    assert (a.outcome, b.outcome) == ("pass", "fail")
    assert reading(measured).startswith("complementary, not fused")


def test_fused_beats_the_specialists_too() -> None:
    half, whole = np.full(8, 0.5), np.full(8, 1.0)
    measured = _gains(fusion=whole, single=half, specialists=half)
    expected = (1 / np.sqrt(2)) / (0.5 / np.sqrt(1.25)) - 1
    assert measured.a.relative.value == pytest.approx(expected, abs=0.06)
    assert reading(measured).startswith("fused")


def test_a_base_near_zero_makes_the_gain_undefined() -> None:
    weak, strong = np.full(8, 0.05), np.full(8, 0.5)
    measured = _gains(fusion=strong, single=weak, specialists=weak)
    assert measured.a.base.value < gains_module.SMALLEST_BASE
    assert np.isnan(measured.a.relative.value)
    assert gain_criteria(measured, 0.10)[0].outcome == "undefined"
    assert reading(measured).startswith("undefined")
