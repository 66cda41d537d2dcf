"""Loudness meters against numbers known from elsewhere, and what they say of the tier on rendered rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.signal import lfilter

from keybed.experiments.audits.loudness_and_tier import (
    LARGEST_R,
    MEASURES,
    METER_DB,
    Config,
    Measured,
    TooFewRows,
    integrated_loudness_lufs,
    interval,
    k_weighted,
    loudness,
    measure,
    r_with_tier,
    tables,
)
from keybed.extract.config import PlanConfig
from keybed.extract.demo.corpus import write_demo_corpus
from keybed.extract.planning.plan import plan

BASELINES = ("logmel", "expressive")


def sine(peak_dbfs: float, seconds: float, rate_hz: int) -> np.ndarray:
    return 10 ** (peak_dbfs / 20) * np.sin(2 * np.pi * 997 * np.arange(round(seconds * rate_hz)) / rate_hz)


@pytest.mark.parametrize("rate_hz", [48_000, 24_000])
def test_a_full_sine_in_one_channel_is_minus_3_01_lufs(rate_hz: int) -> None:
    # BS.1770-4: "a 0 dB FS, 997 Hz sine wave applied to the left, centre or right channel … −3.01 LKFS".
    assert integrated_loudness_lufs(sine(0, 5, rate_hz), rate_hz) == pytest.approx(-3.01, abs=0.05)


def test_the_filters_are_the_standards_own_at_48_khz() -> None:
    impulse = np.zeros(64)
    impulse[0] = 1
    shelf = lfilter(
        [1.53512485958697, -2.69169618940638, 1.19839281085285], [1, -1.69065929318241, 0.73248077421585], impulse
    )
    table = lfilter([1.0, -2.0, 1.0], [1, -1.99004745483398, 0.99007225036621], shelf)
    np.testing.assert_allclose(k_weighted(impulse, 48_000), table, atol=1e-7)


def test_quiet_passages_are_gated() -> None:
    loud, soft = sine(-20, 20, 24_000), sine(-50, 20, 24_000)
    both = np.concatenate([loud, soft])
    assert integrated_loudness_lufs(both, 24_000) == pytest.approx(-23.01, abs=0.1)
    assert integrated_loudness_lufs(both, 24_000, gated=False) == pytest.approx(-26.02, abs=0.1)
    assert integrated_loudness_lufs(1e-6 * loud, 24_000) == -np.inf


def test_measures_of_a_sine_are_their_closed_forms() -> None:
    found = dict(zip(MEASURES, loudness(sine(-20, 10, 24_000), 24_000), strict=True))
    assert found["rms"] == pytest.approx(-23.01, abs=METER_DB)
    assert found["peak"] == pytest.approx(-20.0, abs=METER_DB)
    assert found["mean_abs"] == pytest.approx(-20 + 20 * np.log10(2 / np.pi), abs=METER_DB)
    assert found["mean_frame_db"] == pytest.approx(-23.01, abs=0.02)


def test_r_with_the_tier_is_pearsons_and_a_meter_that_stands_still_knows_nothing() -> None:
    rng = np.random.default_rng(0)
    tier = np.tile(np.arange(4.0), (500, 1))
    planted = 0.3 * tier + rng.normal(0, 1, tier.shape)
    # r of b·t + noise: b·sd(t) / sqrt(b²·var(t) + 1), var(t) = 1.25
    assert r_with_tier(planted) == pytest.approx(0.3 * 1.25**0.5 / (0.09 * 1.25 + 1) ** 0.5, abs=0.03)
    assert r_with_tier(-26 + 1e-9 * tier) == 0.0
    spread = interval(Measured(np.repeat(planted[:, :, None], len(MEASURES), 2), np.arange(500) // 5), 0)
    assert spread[0] < r_with_tier(planted) < spread[1]
    assert 0.05 < spread[1] - spread[0] < 0.2


def test_rows_of_a_planned_store_are_made_and_told(tmp_path: Path) -> None:
    corpus = write_demo_corpus(tmp_path / "corpus", n_pieces=4, n_players=1, seconds=30)
    plan(PlanConfig(corpus, tmp_path / "store", limit=3, encoders=BASELINES, jobs=1))
    measured = measure(Config(tmp_path / "store", workers=0))
    assert measured.loudness_SxTxM.shape == (3, 4, len(MEASURES))
    assert np.ptp(measured.loudness_SxTxM[:, :, MEASURES.index("rms")]) < METER_DB / 2
    assert np.ptp(measured.loudness_SxTxM[:, :, MEASURES.index("bs1770")]) > METER_DB
    assert [table.row_count for table in tables(measured)] == [len(MEASURES)] * 2
    with pytest.raises(TooFewRows, match="keybed plan"):
        measure(Config(tmp_path / "store", segments=1, workers=0))


@pytest.mark.slow
@pytest.mark.parametrize(("profile", "leaning"), [("mixed", 0.14), ("tiered", 0.25)])  # measured: 0.08 and 0.18
def test_mean_loudness_does_not_give_the_tier_away(
    shared_data: Path, tmp_path: Path, profile: str, leaning: float
) -> None:
    """500 rendered rows of real music. The mean level is one for all; BS.1770 leans on the tier, no further than is known."""
    plan(
        PlanConfig(
            shared_data / "maestro-mini", tmp_path / "store", limit=125, encoders=BASELINES, profile=profile, jobs=1
        )
    )
    measured = measure(Config(tmp_path / "store", segments=125))
    assert measured.loudness_SxTxM.shape[0] > 120
    level = measured.loudness_SxTxM[:, :, MEASURES.index("rms")]
    assert np.ptp(level) < METER_DB / 2, "a row that is not at the common level"
    assert abs(r_with_tier(level)) < LARGEST_R
    lufs = measured.loudness_SxTxM[:, :, MEASURES.index("bs1770")]
    assert abs(r_with_tier(lufs)) < leaning
