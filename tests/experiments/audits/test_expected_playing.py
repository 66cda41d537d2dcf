"""The audit of the expected playing: its models judge no piece that they have met, and every number of the table is made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from keybed import store as stores
from keybed.experiments.audits import expected_playing
from keybed.experiments.audits.expected_playing import (
    ALONE,
    CROSS_FITTED,
    GAINED,
    SHOWN_AXES,
    WITHOUT,
    Listening,
    cross_fitted,
    lines_of,
    measure,
    nested,
)
from keybed.experiments.evaluation.cross_validation import Budget
from keybed.extract.config import ExtractConfig, PlanConfig
from keybed.extract.encoders.expected.fit import Playing
from keybed.extract.encoders.expected.models import PlayingModel
from keybed.extract.encoders.expected.spec import CHANNELS
from keybed.extract.planning.plan import plan
from keybed.extract.run.task import extract
from tests.extract.encoders.expected.test_pedal_expectation import legato


def test_models_judge_no_piece_that_they_have_met(monkeypatch: pytest.MonkeyPatch) -> None:
    playing = [legato(number, 0.4 * (number % 2)) for number in range(40)]
    piece = np.arange(40) // 10
    pristine = np.arange(40) % 2 == 0
    tested = [np.arange(0, 20), np.arange(20, 40)]
    fitted: list[set[int]] = []
    fit = expected_playing.fit

    def remember(learnt: Playing, windows: NDArray[np.bool_]) -> PlayingModel:
        assert learnt.n == pristine.sum()
        fitted.append(set(piece[pristine][windows].tolist()))
        return fit(learnt, windows)

    monkeypatch.setattr(expected_playing, "fit", remember)
    listening = Listening(playing, pristine, 10.0, 20)
    own, met = cross_fitted(listening, tested), listening.blank()
    listening.judge(met, np.arange(40), listening.model())
    assert fitted == [{2, 3}, {0, 1}, {0, 1, 2, 3}]
    assert own.shape == met.shape == (40, 20, 2, len(CHANNELS))
    # Models that have met a piece are less surprised by it.
    middle, mean = CHANNELS.index("pedal_surprise_p50"), CHANNELS.index("lift_surprise_mean")
    surprise = [frames[pristine][:, 0, 1, middle].mean() for frames in (own, met)]
    assert surprise[1] < surprise[0]
    # What is at fault surprises both.
    for frames in (own, met):
        assert frames[~pristine][:, 0, 1, mean].mean() > frames[pristine][:, 0, 1, mean].mean() + 1


def test_nested_models_meet_neither_the_row_nor_the_tested_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    playing = [legato(number) for number in range(12)]
    tested = [np.arange(0, 4), np.arange(4, 8), np.arange(8, 12)]
    listening = Listening(playing, np.ones(12, bool), 10.0, 20)
    fitted: list[PlayingModel] = []
    windows: list[set[int]] = []
    fit = expected_playing.fit

    def remember(learnt: Playing, heard: NDArray[np.bool_]) -> PlayingModel:
        windows.append(set(np.flatnonzero(heard).tolist()))
        fitted.append(fit(learnt, heard))
        return fitted[-1]

    monkeypatch.setattr(expected_playing, "fit", remember)
    own = cross_fitted(listening, tested)
    del windows[:], fitted[:]
    made = nested(listening, tested, own)
    assert windows == [set(range(8, 12)), set(range(4, 8)), set(range(4))]
    for number, of_fold in enumerate(made):
        np.testing.assert_array_equal(of_fold[tested[number]], own[tested[number]])
    for outer, judged, model in ((0, 1, 0), (1, 0, 0), (0, 2, 1), (2, 0, 1), (1, 2, 2), (2, 1, 2)):
        wanted = listening.blank()
        listening.judge(wanted, tested[judged], fitted[model])
        np.testing.assert_array_equal(made[outer][tested[judged]], wanted[tested[judged]])


@pytest.mark.slow
def test_every_number_of_the_table(shared_data: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    plan(PlanConfig(shared_data / "maestro-mini", store, limit=60, encoders=("logmel", "expressive")))
    extract(ExtractConfig(store, workers=0))
    found = measure(stores.open(store), replicates=20, budget=Budget(epochs=1, seeds=1, hidden=8))
    assert found.rows > 200
    for axis in SHOWN_AXES:
        assert set(found.ridge[axis]) == {WITHOUT, *GAINED, ALONE}
        assert set(found.gain[axis]) == set(GAINED)
        assert all(-1 <= found.head[name][axis] <= 1 for name in (WITHOUT, CROSS_FITTED))
    text = "\n".join(lines_of(found))
    assert f"{found.rows} rows" in text
    for name in (WITHOUT, *GAINED, ALONE):
        assert name in text
