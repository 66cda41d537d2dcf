"""The audit of the expected playing: its models judge no piece that they have met, and every number of the table is made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from keybed import store as stores
from keybed.experiments.audits.expected import notes, pedal
from keybed.experiments.audits.expected_playing import (
    ALONE,
    CROSS_FITTED,
    MET,
    SHOWN_AXES,
    WITHOUT,
    expected_frames,
    lines_of,
    measure,
)
from keybed.experiments.evaluation.cross_validation import Budget
from keybed.extract.config import ExtractConfig, PlanConfig
from keybed.extract.music.performance import Performance
from keybed.extract.planning.plan import plan
from keybed.extract.run.task import extract
from tests.experiments.audits.expected.test_pedal import legato


def test_models_judge_no_piece_that_they_have_met(monkeypatch: pytest.MonkeyPatch) -> None:
    playing = [legato(number, 0.4 * (number % 2)) for number in range(40)]
    piece_of = {id(p): number // 10 for number, p in enumerate(playing)}
    pristine = np.arange(40) % 2 == 0
    tested = [np.arange(0, 20), np.arange(20, 40)]
    fitted: list[set[int]] = []
    fit = pedal.fit

    def remember(performances: Sequence[Performance], window_s: float) -> pedal.Expectation:
        assert {id(p) for p in performances} <= {id(playing[i]) for i in np.flatnonzero(pristine)}
        fitted.append({piece_of[id(p)] for p in performances})
        return fit(performances, window_s)

    monkeypatch.setattr(pedal, "fit", remember)
    own, met = expected_frames(playing, pristine, tested, 10.0, 20)
    assert fitted == [{2, 3}, {0, 1}, {0, 1, 2, 3}]
    assert own.shape == met.shape == (40, 20, 2, pedal.N_CHANNELS + notes.N_CHANNELS)
    # Models that have met a piece are less surprised by it.
    surprise = [frames[pristine][:, 0, 1, 5].mean() for frames in (own, met)]
    assert surprise[1] < surprise[0]
    # What is at fault surprises both.
    for frames in (own, met):
        assert frames[~pristine][:, 0, 1, 3].mean() > frames[pristine][:, 0, 1, 3].mean() + 1


@pytest.mark.slow
def test_every_number_of_the_table(shared_data: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    plan(PlanConfig(shared_data / "maestro-mini", store, limit=60, encoders=("logmel", "expressive")))
    extract(ExtractConfig(store, workers=0))
    found = measure(stores.open(store), replicates=20, budget=Budget(epochs=1, seeds=1, hidden=8))
    assert found.rows > 200
    for axis in SHOWN_AXES:
        assert set(found.ridge[axis]) == {WITHOUT, CROSS_FITTED, MET, ALONE}
        assert set(found.gain[axis]) == {CROSS_FITTED, MET}
        assert all(-1 <= found.head[name][axis] <= 1 for name in (WITHOUT, CROSS_FITTED))
    text = "\n".join(lines_of(found))
    assert f"{found.rows} rows" in text
    for name in (WITHOUT, CROSS_FITTED, MET, ALONE):
        assert name in text
