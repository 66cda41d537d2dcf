"""What models keep on a soundfont that no training row has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from keybed import store as stores
from keybed.experiments.data.folds import out_of_fold, split_fold
from keybed.experiments.evaluation.cross_validation import scored_rows
from keybed.experiments.evaluation.each_piano import each_piano
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.model_names import FINAL_FUSION
from keybed.experiments.evaluation.unseen_piano import OnPianos, UnseenPiano, unseen_piano
from keybed.experiments.phases.phase4_criteria import phase4_criteria
from keybed.experiments.reports import piano_section
from keybed.store.format.vocabulary import DIMENSIONS

AUDIO = {"soundfonts": [{"name": "a.sf2"}, {"name": "b.sf2"}], "hold_out_soundfont": "b.sf2"}


def _store(audio: dict[str, Any]) -> Any:
    return SimpleNamespace(recipe=SimpleNamespace(audio=audio))


def _rows(make_store: Callable[..., Path]) -> Any:
    rows = stores.open(make_store(12, 8)).rows()
    held_out = (rows.segment % 2 == 1) & (rows.split > 0)
    return replace(rows, held_out=held_out, soundfont=held_out.astype(np.uint8))


def test_rows_of_a_held_out_soundfont_never_train_and_are_tested(make_store: Callable[..., Path]) -> None:
    rows = _rows(make_store)
    for fold in (split_fold(rows), *out_of_fold(rows, 4, seed=0)):
        assert not rows.held_out[fold.train].any()
    assert rows.held_out[split_fold(rows).test].any()
    tested = np.concatenate([fold.test for fold in out_of_fold(rows, 4, seed=0)])
    assert np.array_equal(np.sort(tested), np.arange(len(rows))), "every row is tested once"


def test_the_fall_is_that_of_the_same_pieces(make_store: Callable[..., Path]) -> None:
    rows = _rows(make_store)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(2, len(rows), 8)) * np.where(rows.held_out, 30.0, 3.0)[None, :, None]
    same = rng.normal(size=(2, len(rows), 8)) * 8
    by_model = {"falls": (rows.score + noise).astype(np.float32), "holds": (rows.score + same).astype(np.float32)}
    found = unseen_piano(_store(AUDIO), rows, scored_rows(rows, by_model), ("falls", "holds"))
    assert found is not None
    assert (found.held_out, found.trained_on) == ("b.sf2", ("a.sf2",))
    both = np.unique(rows.piece[rows.held_out])
    assert found.pieces == len(both)
    assert found.seen_rows + found.unseen_rows == np.isin(rows.piece, both).sum()
    falls, holds = found.models["falls"], found.models["holds"]
    assert falls.fall.above_zero
    assert falls.fall.value == pytest.approx(falls.seen.value - falls.unseen.value)
    assert falls.kept.value == pytest.approx(falls.unseen.value / falls.seen.value)
    assert not holds.fall.above_zero


def test_a_store_that_holds_nothing_out_has_no_such_number(make_store: Callable[..., Path]) -> None:
    rows = stores.open(make_store(4, 4)).rows()
    predictions = scored_rows(rows, {"m": rows.score[None]})
    assert unseen_piano(_store({}), rows, predictions, ("m",)) is None
    assert unseen_piano(_store({"soundfonts": AUDIO["soundfonts"]}), rows, predictions, ("m",)) is None


def _found() -> UnseenPiano:
    r = OnPianos(
        Interval(0.5, 0.45, 0.55), Interval(0.4, 0.35, 0.45), Interval(0.1, 0.05, 0.15), Interval(0.8, 0.7, 0.9)
    )
    return UnseenPiano("b.sf2", ("a.sf2",), 6, 300, 280, {FINAL_FUSION: r})


def test_phase_4_shows_the_unseen_piano_and_does_not_decide_by_it() -> None:
    r = Interval(0.6, 0.5, 0.7)
    gain = SimpleNamespace(specific=SimpleNamespace(relative=Interval(0.2, 0.1, 0.3), arithmetic="0.6 against 0.5"))
    table = {FINAL_FUSION: dict.fromkeys(DIMENSIONS, r)}
    results: Any = SimpleNamespace(specific=table, gain=gain, technical=r, unseen_piano=_found())
    *others, shown = phase4_criteria(results)
    assert (shown.name, shown.required, shown.outcome) == ("holds on an unseen piano", False, "fail")
    assert shown.arithmetic == "mean specific r 0.400 on b.sf2 / 0.500 on a.sf2, 6 pieces"
    assert all(c.required and c.outcome == "pass" for c in others)
    results.unseen_piano = None
    assert phase4_criteria(results) == others, "a store that holds none out has the gate of before"


def test_a_share_of_no_surely_positive_r_is_undefined() -> None:
    r = Interval(0.6, 0.5, 0.7)
    gain = SimpleNamespace(specific=SimpleNamespace(relative=Interval(0.2, 0.1, 0.3), arithmetic=""))
    found = _found()
    unsure = replace(found.models[FINAL_FUSION], seen=Interval(0.2, -0.1, 0.5))
    found = replace(found, models={FINAL_FUSION: unsure})
    results: Any = SimpleNamespace(
        specific={FINAL_FUSION: dict.fromkeys(DIMENSIONS, r)}, gain=gain, technical=r, unseen_piano=found
    )
    shown = phase4_criteria(results)[-1]
    assert (shown.outcome, shown.value) == ("undefined", None)
    assert shown.arithmetic.endswith("; r on the seen pianos is not surely above 0")


def test_no_interval_of_an_r_goes_beyond_1(make_store: Callable[..., Path]) -> None:
    """Weights of two seeds in a resample lie between −0.4 and 2.4, so a mean over seeds may leave the range."""
    rows = _rows(make_store)
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(2, len(rows), 8)) * np.array([0.1, 60.0])[:, None, None]
    found = unseen_piano(_store(AUDIO), rows, scored_rows(rows, {"m": (rows.score + noise).astype("f4")}), ("m",))
    assert found is not None
    on = found.models["m"]
    assert max(on.seen.high, on.unseen.high) <= 1.0
    assert min(on.seen.low, on.unseen.low) >= -1.0


def test_the_card_has_both_pianos() -> None:
    assert piano_section.unseen_piano(None) is None
    card = piano_section.unseen_piano(_found())
    assert card is not None
    assert list(card.tables[0].rows[0])[1:] == [
        "0.500 (0.450 to 0.550)", "0.400 (0.350 to 0.450)", "0.100 (0.050 to 0.150)"
    ]  # fmt: skip
    assert "No training row is rendered with b.sf2" in card.text[0]


def test_each_piano_has_the_r_of_its_own_rows(make_store: Callable[..., Path]) -> None:
    rows = _rows(make_store)
    rng = np.random.default_rng(0)
    loud = np.where(rows.soundfont == 1, 40.0, 2.0)[None, :, None]
    predicted = (rows.score + loud * rng.normal(size=(2, len(rows), 8))).astype(np.float32)
    predictions = scored_rows(rows, {"m": predicted})
    for kind in ("specific", "plain"):
        first, second = each_piano(_store(AUDIO), rows, predictions, ("m",), kind)
        assert (first.soundfont, first.held_out, second.soundfont, second.held_out) == ("a.sf2", False, "b.sf2", True)
        assert first.rows == (rows.soundfont == 0).sum()
        assert second.pieces == len(np.unique(rows.piece[rows.soundfont == 1]))
        assert first.models["m"].low > second.models["m"].high
    # by hand: Pearson's r of each dimension and seed on one piano's rows, then their mean
    on_second = rows.soundfont == 1
    by_hand = [
        np.corrcoef(rows.score[on_second & ok, k], predicted[s, on_second & ok, k])[0, 1]
        for k, ok in enumerate(rows.valid.T)
        for s in range(2)
        if np.ptp(rows.score[on_second & ok, k]) > 0
    ]
    assert second.models["m"].value == pytest.approx(np.mean(by_hand), abs=1e-6)


def test_a_piano_of_one_piece_has_no_r_and_the_page_says_so(make_store: Callable[..., Path]) -> None:
    rows = _rows(make_store)
    rows = replace(rows, soundfont=(rows.piece == rows.piece[0]).astype(np.uint8))
    predictions = scored_rows(rows, {"m": rows.score[None]})
    pianos = each_piano(_store({"soundfonts": AUDIO["soundfonts"]}), rows, predictions, ("m",), "plain")
    assert pianos[0].models
    assert not pianos[1].models
    card = piano_section.each_piano(pianos, "Pearson r")
    assert card is not None
    assert card.text[-1] == "b.sf2: r is not given, since its test rows are of fewer than 2 pieces."
    assert card.tables[0].rows[1][3] == "–"


def test_a_store_with_one_piano_has_no_such_card(make_store: Callable[..., Path]) -> None:
    rows = stores.open(make_store(4, 4)).rows()
    assert each_piano(_store({}), rows, scored_rows(rows, {"m": rows.score[None]}), ("m",), "plain") == ()
    assert piano_section.each_piano((), "Pearson r") is None
