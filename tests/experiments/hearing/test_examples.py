"""The three examples of a report: which rows they are, and what the page shows with and without their store."""

import base64
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from keybed import store as stores
from keybed.experiments.evaluation.saved_predictions import PREDICTIONS, SavedPredictions
from keybed.experiments.hearing.examples import choose, make_examples, read_examples
from keybed.experiments.reports.examples_section import examples_section
from keybed.store.format.vocabulary import AXIS_DIMENSIONS

ROWS, SEEDS = 60, 3


def saved(**by_model: np.ndarray) -> SavedPredictions:
    """Scores of 70 everywhere and predictions of 70, but for what is given; 15 segments of 4 tiers."""
    truth = {
        "score": np.full((ROWS, 8), 70, np.float32),
        "valid": np.ones((ROWS, 8), bool),
        "tier": np.tile(np.arange(4), ROWS // 4).astype(np.uint8),
        "segment": np.repeat(np.arange(ROWS // 4), 4).astype(np.int32),
        "piece": np.repeat(np.arange(ROWS // 4), 4).astype(np.int32),
        "difficulty": np.zeros((ROWS, 6), np.float32),
    }
    flat = np.full((SEEDS, ROWS, 8), 70, np.float32)
    return SavedPredictions(
        np.arange(ROWS), np.zeros(ROWS, np.int64), {"audio": flat, "midi": flat, "best_fusion": flat, **by_model}, truth
    )


def predictions(**cells: float) -> np.ndarray:
    """70 with a little spread over the seeds; r5_d2=90 sets row 5, dimension 2 in all seeds."""
    values = 70 + np.random.default_rng(0).normal(0, 0.5, (SEEDS, ROWS, 8)).astype(np.float32)
    for name, value in cells.items():
        row, dimension = (int(part[1:]) for part in name.split("_"))
        values[:, row, dimension] = value
    return values


def test_each_is_the_extreme_of_its_own_measure():
    fusion = predictions(r5_d2=82, r9_d3=50)  # row 9 is farther from the score, but its seeds disagree
    fusion[:, 9, 3] += np.array([-25, 0, 25])
    fusion[:, 21, 0] = 45  # and this is farthest from the score
    fusion[:, 21, 0] += np.array([-30, 0, 30])
    truth = saved(best_fusion=fusion, audio=predictions(r30_d5=95, r34_d4=99), midi=predictions(r30_d5=40, r34_d4=10))
    chosen = {c.reason: (c.position, AXIS_DIMENSIONS[c.dimension]) for c in choose(truth)}
    assert chosen == {
        "certain": (5, "articulation_clarity"),
        "wrong": (21, "note_accuracy"),
        "divided": (30, "dynamic_range"),  # row 34 differs more, in tone
    }


def test_pristine_rows_invalid_cells_and_a_segment_twice_are_left_out():
    fusion = predictions(r8_d0=0, r9_d0=10, r13_d1=20, r17_d1=30)  # row 8 is pristine
    truth = saved(best_fusion=fusion)
    truth.truth["valid"][9, 0] = False
    chosen = choose(truth)
    assert [c.position for c in chosen[:2]] == [13, 17]
    assert len({truth.truth["segment"][c.position] for c in chosen}) == len(chosen) == 3


def test_a_run_without_single_heads_has_two():
    truth = saved()
    del truth.by_model["midi"]
    assert [c.reason for c in choose(truth)] == ["certain", "wrong"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    fusion = predictions(r5_d1=82, r21_d0=20)
    fusion[:, 21, 0] += np.array([-40, 0, 40])  # its seeds disagree
    made = saved(best_fusion=fusion, audio=predictions(r30_d3=95))
    arrays = {f"truth/{name}": values for name, values in made.truth.items()}
    arrays |= {f"said/{name}": values for name, values in made.by_model.items()}
    np.savez(folder / PREDICTIONS, index=made.index, fold=made.fold, **arrays)
    return folder


def test_the_examples_are_made_again_with_their_sound_and_read_back(run, finished_placeholder_store):
    made = make_examples(run, stores.open(finished_placeholder_store))
    assert made.problem == ""
    assert read_examples(run).examples[0].row == 5
    assert json.loads((run / "examples.json").read_text())["model"] == "best_fusion"
    for example in made.examples:
        audio, rate = soundfile.read(io.BytesIO(base64.b64decode(example.flac)))
        assert (rate, audio.size) == (24_000, 240_000)
    section = examples_section(read_examples(run))
    (strip,) = section.pictures
    assert strip.count('class="play"') == 3
    assert "Most certain: rhythmic stability" in strip
    assert "Row 21. Score 70; predicted: fusion 20, audio alone 70, MIDI alone 70." in strip
    assert any("3 clips, FLAC" in line for line in section.text)


def test_without_the_note_bank_the_strip_says_why_and_stays(run, finished_placeholder_store, tmp_path):
    paths = {"note-bank": str(tmp_path / "gone.bank"), "soundfont": str(tmp_path / "gone.sf2")}
    made = make_examples(run, stores.open(finished_placeholder_store), paths)
    assert "gone.sf2" in made.problem
    section = examples_section(made)
    assert any(line.startswith("Without sound, because") and "gone.sf2" in line for line in section.text)
    assert 'class="play"' not in section.pictures[0]
    assert "predicted: fusion 20" in section.pictures[0]


def test_without_the_libraries_that_render_the_strip_says_how_to_install_them(
    run, finished_placeholder_store, monkeypatch
):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    made = make_examples(run, stores.open(finished_placeholder_store), None)
    assert "soundfile is not installed" in made.problem
    assert "pip install -c constraints.txt '.[extract]', then keybed report RUN" in made.problem


def test_a_run_of_before_says_how_to_get_examples(tmp_path):
    assert read_examples(tmp_path) is None
    section = examples_section(None)
    assert "keybed report RUN --store STORE" in section.text[0]
    assert section.pictures == ()
