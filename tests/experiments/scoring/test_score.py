"""Scoring recordings: equal input gives equal numbers, and every kind of input that is not judged says why."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import soundfile

import keybed
from keybed.experiments.scoring.errors import CannotScore
from keybed.experiments.scoring.score import score, score_files
from keybed.experiments.scoring.scorer import Scorer
from keybed.experiments.scoring.write import read_record, write_record
from keybed.extract.music.midi_writer import midi_bytes, write_midi
from keybed.extract.music.performance import Performance, playable
from keybed.store.format.vocabulary import DIMENSIONS
from tests.experiments.scoring.conftest import piece

RATE_HZ = 24_000


def reasons(file, dimension: str) -> set[str | None]:
    return {w.scores[dimension].reason for w in file.windows}


def saved(path: Path, performance: Performance) -> Path:
    write_midi(path, performance)
    return path


@pytest.fixture(scope="module")
def scored(scorer, midi):
    return score(midi, scorer)


def test_the_same_recording_gives_the_same_numbers_under_any_name(scored, scorer, midi, tmp_path):
    assert score(midi, scorer) == scored
    copy = tmp_path / "other.mid"
    copy.write_bytes(midi.read_bytes())
    assert score(copy, scorer).windows == scored.windows


def test_a_pretty_midi_object_gives_what_its_file_gives(scorer, midi, tmp_path):
    made = pretty_midi.PrettyMIDI(str(midi))
    made.write(str(tmp_path / "written.mid"))
    assert score(made, scorer).windows == score(tmp_path / "written.mid", scorer).windows


def test_keybed_score_is_this_function():
    assert keybed.score is score


def test_scores_lie_in_their_intervals(scored):
    assert scored.score.shape == (6, 8)
    judged = scored.judged
    assert judged.any()
    assert ((scored.lower <= scored.score) & (scored.score <= scored.upper))[judged].all()
    whole = scored.whole["tone_quality"]
    column = scored.score[:, DIMENSIONS.index("tone_quality")]
    assert whole.score == pytest.approx(np.nanmean(column), abs=1e-3)
    assert whole.windows_judged == np.isfinite(column).sum()


def test_two_notes(scorer, tmp_path):
    two = playable(
        np.array([0.5, 1.0]), np.array([0.9, 1.5]), np.array([60, 64]), np.array([60, 70]), np.zeros(0), np.zeros(0)
    )
    file = score(saved(tmp_path / "two.mid", two), scorer)
    assert len(file.windows) == 1
    assert reasons(file, "note_accuracy") == reasons(file, "dynamic_range") == {"few notes"}
    assert reasons(file, "overall_interpretation") == {"too little judged"}
    assert "silence follows" in file.remarks[0]


def test_no_pedal(scorer, tmp_path):
    dry = replace(piece(), pedal_s=np.zeros(0), pedal_value=np.zeros(0, np.int16))
    file = score(saved(tmp_path / "dry.mid", dry), scorer)
    assert reasons(file, "pedal_technique") == {"few pedal lifts"}


def test_one_velocity_throughout(scorer, tmp_path):
    flat = replace(piece(), velocity=np.full(piece().n_notes, 64, np.int16))
    assert reasons(score(saved(tmp_path / "flat.mid", flat), scorer), "dynamic_range") == {"even velocity"}


def test_drums_only(scorer, tmp_path):
    made = pretty_midi.PrettyMIDI()
    drums = pretty_midi.Instrument(0, is_drum=True)
    drums.notes = [pretty_midi.Note(80, 36, i / 2, i / 2 + 0.1) for i in range(60)]
    made.instruments.append(drums)
    made.write(str(tmp_path / "drums.mid"))
    results = score_files([tmp_path / "drums.mid"], scorer)
    assert "no piano note in it" in results.record.failed[0].problem
    assert "60 notes on channel 10 (drums)" in results.record.failed[0].problem


def test_silence_at_the_ends(scorer, tmp_path):
    """15 s of silence before and after: its windows have no notes, and the windows of the music in between are judged."""
    p = piece(first_s=15.0)
    held = playable(
        np.append(p.onset_s, 49.0),
        np.append(p.offset_s, 50.0),
        np.append(p.pitch, 60),
        np.append(p.velocity, 50),
        p.pedal_s,
        p.pedal_value,
    )
    file = score(saved(tmp_path / "silent.mid", held), scorer)
    assert file.windows[0].scores["tone_quality"].reason == "no notes"
    assert file.windows[2].distance is None
    assert file.windows[18].n_notes == 0
    assert file.windows[10].n_notes > 20


def test_windows_unlike_the_training_data_are_not_judged(scorer, tmp_path):
    """Four times as many notes, all of them at the top of the keyboard."""
    p = piece(80.0, seed=3)
    odd = playable(p.onset_s / 4, p.offset_s / 4, 95 + p.pitch % 12, p.velocity, p.pedal_s / 4, p.pedal_value)
    file = score(saved(tmp_path / "odd.mid", odd), scorer)
    assert reasons(file, "note_accuracy") == {"outside training"}
    assert file.whole["note_accuracy"].score is None


def wav(path: Path, scorer, midi: Path, *, rate: int = RATE_HZ, seconds: float = 20.0) -> Path:
    """The rendering of the piece as a WAV file."""
    sound = score_files([midi], scorer).music[0].sound(0, seconds)
    soundfile.write(path, sound[:: RATE_HZ // rate], rate)
    return path


def test_sound_with_its_midi(scorer, midi, scored, tmp_path):
    """The rendering itself as sound: the same notes, heard from a file; FLAC and WAV give the same up to 16 bits."""
    sound = wav(tmp_path / "piece.wav", scorer, midi)
    file = score(midi, scorer, audio=sound)
    assert file.audio_path == str(sound)
    assert file.notes_from == "midi"
    assert [w.n_notes for w in file.windows][:4] == [w.n_notes for w in scored.windows][:4]
    beside = tmp_path / "piece.mid"
    beside.write_bytes(midi.read_bytes())
    assert score(sound, scorer).windows == file.windows
    assert score(midi, scorer, audio=soundfile.read(sound)[0], sample_rate_hz=RATE_HZ).windows[0].n_notes


def test_sound_at_8_khz(scorer, midi, tmp_path):
    file = score(midi, scorer, audio=wav(tmp_path / "low.wav", scorer, midi, rate=8000))
    assert len(file.windows) == 6
    assert reasons(file, "tone_quality") == {"outside training"}


def test_sound_of_another_length_is_an_error_that_names_both(scorer, midi, tmp_path):
    sound = wav(tmp_path / "short.wav", scorer, midi, seconds=15.0)
    with pytest.raises(CannotScore, match=r"mine.mid lasts 20\.\d s and .*short.wav 15.0 s"):
        score(midi, scorer, audio=sound)


def test_sound_alone_needs_the_transcriber(scorer, midi, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sound = wav(tmp_path / "alone.wav", scorer, midi)
    with pytest.raises(CannotScore, match=r"no MIDI file of the same name beside it.*keybed fetch transkun"):
        score(sound, scorer)


def test_a_bad_file_among_others(scorer, midi, tmp_path):
    bad, text = tmp_path / "bad.mid", tmp_path / "notes.txt"
    bad.write_bytes(midi.read_bytes()[:200])
    text.write_text("no music")
    results = score_files([bad, midi, text, tmp_path / "absent.mid"], scorer)
    assert [f.name for f in results.record.files] == [midi.name]
    problems = [f.problem for f in results.record.failed]
    assert "cut short" in problems[0]
    assert "neither a MIDI file nor a sound file" in problems[1]
    assert "no such file" in problems[2]


def test_the_same_music_at_another_tempo_is_compared_passage_by_passage(scorer, midi, tmp_path):
    p = piece()
    slow = playable(p.onset_s * 1.25, p.offset_s * 1.25, p.pitch, p.velocity, p.pedal_s * 1.25, p.pedal_value)
    other = piece(seed=9)
    files = [midi, saved(tmp_path / "slow.mid", slow), saved(tmp_path / "other.mid", other)]
    same, different = score_files(files, scorer).record.comparisons
    assert len(same.passages) == 6
    assert [p.other_start_s for p in same.passages] == pytest.approx(
        [1.25 * (2 * i + 5) - 5 for i in range(6)], abs=1.3
    )
    assert different.passages == ()
    assert "plays no passage" in different.remark


def test_two_ways_of_playing_are_compared(model, midi, tmp_path):
    anywhere = {modality: replace(d, threshold=1e9) for modality, d in model.distance.items()}
    scorer = Scorer(replace(model, distance=anywhere))
    p = piece()
    softer = playable(p.onset_s, p.offset_s, p.pitch, p.velocity - 3, p.pedal_s, p.pedal_value)
    (comparison,) = score_files([midi, saved(tmp_path / "softer.mid", softer)], scorer).record.comparisons
    cells = [p.compared["rhythmic_stability"] for p in comparison.passages]
    known = [cell for cell in cells if cell is not None]
    assert known
    for cell in known:
        assert cell.upper - cell.difference == pytest.approx(12.0, abs=2e-3)
        assert cell.difference - cell.lower == pytest.approx(12.0, abs=2e-3)
    assert comparison.passages_compared["rhythmic_stability"] == len(known)
    assert comparison.passages_compared["overall_interpretation"] == 0
    mean = comparison.compared["rhythmic_stability"].difference
    assert mean == pytest.approx(np.mean([cell.difference for cell in known]), abs=2e-3)
    assert comparison.passages_better["rhythmic_stability"] == sum(cell.difference > 0 for cell in known)


def test_files_are_written_and_read(scorer, midi, tmp_path):
    record = score_files([midi, midi], scorer).record
    paths = write_record(record, tmp_path / "out")
    assert [p.name for p in paths] == ["score.json", "score.csv", "comparison.csv"]
    assert read_record(tmp_path / "out") == record
    lines = (tmp_path / "out" / "score.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * 6 * 8
    assert json.loads(paths[0].read_text())["files"][0]["name"] == midi.name
    assert record.comparisons[0].difference["tone_quality"] == 0
    compared = record.comparisons[0].compared
    assert compared["tone_quality"].difference == pytest.approx(0, abs=0.1)
    assert compared["overall_interpretation"] is None, "its interval is infinite"
    first = (tmp_path / "out" / "comparison.csv").read_text().splitlines()[1].split(",")
    assert first[5:7] == ["note_accuracy", "0.0"]
    assert [float(x) for x in first[7:]] == pytest.approx([0, -12, 12], abs=0.1)


@pytest.mark.parametrize("hop_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_senseless_hop_is_refused(scorer, midi, hop_s):
    with pytest.raises(CannotScore, match="hop"):
        score(midi, scorer, hop_s=hop_s)


def test_work_of_more_than_a_minute_is_announced(scorer, midi, tmp_path, monkeypatch):
    """20 s of music are 6 windows."""
    lines = []
    score_files([midi], scorer, notice=lines.append)
    assert lines == []
    monkeypatch.setattr(Scorer, "window_cost_s", 15.0)
    score_files([midi, tmp_path / "absent.mid"], scorer, notice=lines.append)
    assert lines == [
        f"{midi.name} takes about 90 s here (6 windows, one every 2 s, at 15.0 s each); --hop 5 takes about 40 s"
    ]


def test_midi_bytes_are_no_recording(scorer):
    with pytest.raises(CannotScore, match="bytes is no recording"):
        score(midi_bytes(piece()), scorer)  # type: ignore[arg-type]


def test_what_the_heads_looked_at(scorer, midi):
    look = score_files([midi], scorer).music[0].looked_at
    assert look.gate_WxMxK is None
    assert look.audio_to_midi_WxTxT is not None
    assert look.audio_to_midi_WxTxT.shape == (6, 20, 20)
    assert np.allclose(look.midi_pooling_WxT.sum(1), 1, atol=1e-3)
