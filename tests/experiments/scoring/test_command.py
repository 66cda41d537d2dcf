"""`keybed score` with a packed model: files, table, JSON document, exit status."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest

from keybed.experiments.cli.main import main
from keybed.experiments.scoring.pack import write_pack
from keybed.experiments.scoring.write import read_record


@pytest.fixture(scope="module")
def packed_file(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("with space and 'quote'") / "model.keybed"
    write_pack(path, model)
    return path


def test_a_file_is_scored_into_a_folder(packed_file, midi, tmp_path, capsys):
    assert main(["score", str(midi), "--run", str(packed_file), "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "1 of 1 file scored" in shown
    assert "tone quality" in shown
    assert read_record(tmp_path / "out").files[0].name == midi.name
    assert midi.name in html.unescape((tmp_path / "out" / "report.html").read_text())
    assert (tmp_path / "out" / "sound.flac").stat().st_size > 10_000


def test_json_is_one_document_and_the_status_says_that_a_file_failed(packed_file, midi, tmp_path, capsys):
    bad = tmp_path / "bad.mid"
    bad.write_bytes(b"no music")
    assert main(["score", str(bad), str(midi), "--run", str(packed_file), "--json"]) == 1
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert document["command"] == "score"
    assert [len(document[key]) for key in ("files", "failed", "comparisons")] == [1, 1, 0]
    assert "not scored" in shown.err
    assert "bad.mid" in shown.err


def test_a_folder_that_is_no_run_and_a_missing_pack(midi, tmp_path, capsys):
    assert main(["score", str(midi), "--run", str(tmp_path)]) == 1
    assert main(["score", str(midi), "--run", str(tmp_path / "absent.keybed")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "is no finished run (it has no results.json)" in lines[0]
    assert "no such file" in lines[1]


def test_an_empty_sound_file_is_named_with_what_to_give(packed_file, tmp_path, capsys):
    empty = tmp_path / "with 'quotes' and \"more\".wav"
    empty.write_bytes(b"")
    assert main(["score", str(empty), "--run", str(packed_file)]) == 1
    assert capsys.readouterr().err == (f"keybed: not scored: {empty}: Format not recognised; give a WAV or FLAC file\n")
