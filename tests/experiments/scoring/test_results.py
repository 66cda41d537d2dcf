"""score.json: written and read back by the codec of every results.json."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from keybed.experiments.data.json_codec import from_json, plain
from keybed.experiments.scoring.results import DimensionScore, ScoredFile, WholeScore, WindowScores
from keybed.store.format.vocabulary import DIMENSIONS


def scored_file() -> ScoredFile:
    """Three windows: overall scores 90, not judged, 70."""

    def window(start_s: float, score: float | None) -> WindowScores:
        cell = (
            DimensionScore(None, None, None, "few notes")
            if score is None
            else DimensionScore(score, score - 5, score + 5)
        )
        return WindowScores(start_s, start_s + 10, 30, 0.5, dict.fromkeys(DIMENSIONS, cell))

    windows = (window(0, 90.0), window(2, None), window(4, 70.0))
    whole = dict.fromkeys(DIMENSIONS, WholeScore(80.0, 75.0, 85.0, 2))
    return ScoredFile("a.mid", "/x/a.mid", None, "midi", "0" * 64, 14.0, 60, windows, whole)


def test_a_scored_file_is_the_same_after_json():
    file = scored_file()
    text = json.dumps(plain(file), allow_nan=False)
    assert from_json(ScoredFile, json.loads(text), Path("score.json")) == file
    assert json.loads(text)["windows"][1]["scores"]["tone_quality"] == {
        "score": None,
        "lower": None,
        "upper": None,
        "reason": "few notes",
        "judged": False,
    }


def test_arrays_and_extremes_of_a_scored_file():
    file = scored_file()
    assert file.score.shape == file.judged.shape == (3, 8)
    assert np.array_equal(file.score[:, 0], [90, np.nan, 70], equal_nan=True)
    assert file.judged[:, 7].tolist() == [True, False, True]
    assert file.extremes() == (2, 0)
