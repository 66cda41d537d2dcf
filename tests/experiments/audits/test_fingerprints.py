"""The detector of fingerprints: what its statistics find on constructed rows, and what it finds on rows as they are made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from keybed.experiments.audits.fingerprint_statistics import fingerprint_statistics
from keybed.experiments.audits.fingerprints import (
    Config,
    NotEnoughRows,
    Table,
    adjusted_auc,
    as_exported,
    detect,
    measure,
)
from keybed.experiments.audits.musical_controls import musical_controls
from keybed.extract.music.performance import Performance
from tests.extract.examples import WINDOW_S


def played(n: int = 120, seed: int = 0) -> Performance:
    """Notes and pedal at random times on no grid."""
    rng = np.random.default_rng(seed)
    onset = np.sort(rng.uniform(0, WINDOW_S, n))
    pedal_s = np.cumsum(rng.normal(0.0195, 0.001, 400))
    return Performance(
        onset,
        onset + rng.lognormal(-2, 0.5, n),
        rng.integers(30, 100, n).astype(np.int16),
        rng.integers(40, 90, n).astype(np.int16),
        pedal_s,
        np.clip(64 + 60 * np.sin(pedal_s * 3), 0, 127).astype(np.int16),
    )


def test_there_are_at_least_forty_statistics_and_all_are_finite() -> None:
    for p in (played(), played(3), Performance.empty(), as_exported(played())):
        found = fingerprint_statistics(p, WINDOW_S)
        assert len(found) >= 40
        assert np.isfinite(list(found.values())).all()
        assert np.isfinite(list(musical_controls(p, WINDOW_S).values())).all()
    assert list(fingerprint_statistics(played(), WINDOW_S)) == list(
        fingerprint_statistics(Performance.empty(), WINDOW_S)
    )


@pytest.mark.parametrize("ticks_hz", [768, 960, 1000, 1024])
def test_times_on_a_grid_of_any_phase_are_found(ticks_hz: int) -> None:
    p = played(400)
    name = f"onset on {ticks_hz} Hz"
    on_grid = replace(p, onset_s=np.round(p.onset_s * ticks_hz) / ticks_hz + 0.000123)
    assert fingerprint_statistics(on_grid, WINDOW_S)[name] == pytest.approx(1.0, abs=1e-6)
    assert fingerprint_statistics(p, WINDOW_S)[name] < 3 / np.sqrt(400)


def test_traces_of_the_first_version_are_found() -> None:
    p = played()
    plain = fingerprint_statistics(p, WINDOW_S)
    length = p.offset_s - p.onset_s
    length[::12] = 0.02
    twenty = fingerprint_statistics(replace(p, offset_s=p.onset_s + length), WINDOW_S)
    assert plain["lengths of 20 ms"] < 0.02 < 0.08 < twenty["lengths of 20 ms"]
    never = replace(p, pedal_value=np.maximum(p.pedal_value, 64 + p.pedal_value // 8).astype(np.int16))
    assert (
        plain["pedal values 64 to 71"] < 0.12 < 0.4 < fingerprint_statistics(never, WINDOW_S)["pedal values 64 to 71"]
    )
    copied = replace(p, onset_s=np.sort(np.repeat(p.onset_s[::2], 2) + np.tile([0.0, 0.005], 60)), offset_s=p.offset_s)
    copied = replace(copied, offset_s=copied.onset_s + np.repeat(length[::2], 2))
    assert (
        plain["lengths repeated exactly"]
        < 0.05
        < 0.4
        < fingerprint_statistics(copied, WINDOW_S)["lengths repeated exactly"]
    )


def test_an_exported_row_keeps_its_notes_to_half_a_tick() -> None:
    p = played()
    q = as_exported(p)
    assert q.n_notes == pytest.approx(p.n_notes, abs=3)
    assert np.allclose(q.onset_s * 960, np.round(q.onset_s * 960), atol=1e-6)


def test_the_auc_beyond_the_controls_leaves_out_what_they_know() -> None:
    """A score that only repeats the controls has 0.5; one with a trace of its own keeps the AUC of that trace."""
    rng = np.random.default_rng(0)
    degraded = (rng.random(20_000) < 0.75).astype(np.int64)
    controls = degraded + rng.normal(size=degraded.size)
    repeated = controls + rng.normal(size=degraded.size)
    trace = 0.5 * degraded + rng.normal(size=degraded.size)
    assert roc_auc_score(degraded, repeated) > 0.68
    assert adjusted_auc(degraded, repeated, controls, 200) == pytest.approx(0.5, abs=0.015)
    own = NormalDist().cdf(0.5 / 2**0.5)
    assert adjusted_auc(degraded, controls + trace, controls, 200) == pytest.approx(own, abs=0.02)
    assert np.isnan(adjusted_auc(degraded[:3], trace[:3], controls[:3]))


def test_what_one_model_of_the_controls_alone_can_see_is_no_trace() -> None:
    """The linear model cannot see a distance from the middle, and trees can: a statistic that repeats it has nothing beyond."""
    rng = np.random.default_rng(0)
    n, pieces = 2_000, 20
    degraded = rng.random(n) < 0.75
    middle = rng.normal(0, np.where(degraded, 2.0, 1.0), n)
    table = Table(
        ("distance",),
        (middle**2 + rng.normal(0, 0.1, n))[:, None],
        np.column_stack([middle, rng.normal(size=n)]),
        degraded.astype(np.int64),
        np.arange(n) % pieces,
        np.full((n, 7), np.nan),
    )
    found = detect(table, Config(Path("unused")), axes=())
    assert max(found.auc.values()) > 0.65
    assert max(found.auc_beyond.values()) < 0.6  # 0.69 with the linear model alone
    for name, (low, high) in found.interval_beyond.items():
        assert low < found.auc_beyond[name] < high < low + 0.2
    assert found.controls_again < 0.6


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotEnoughRows, match="no MIDI files"):
        measure(Config(tmp_path))


def test_degraded_rows_are_hardly_told_by_their_traces(shared_data: Path) -> None:
    """A small version of the audit: 0.999 for version 1. Uneven rhythm is the error itself, and the strongest single statistic."""
    config = Config(shared_data / "maestro-mini", rows=320, folds=4)
    for table in measure(config):
        found = detect(table, config, axes=())
        assert max(found.auc.values()) < 0.75
        single = dict(found.single_auc)
        assert abs(single.pop("commonest onset lag") - 0.5) < 0.22
        assert all(abs(auc - 0.5) < 0.15 for auc in single.values())
