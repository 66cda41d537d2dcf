"""What a plan reports of a corpus's files: damaged, absent, equal, longer or shorter than the CSV says."""

from __future__ import annotations

import errno
import os
import re
import shutil
import unicodedata
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile

from keybed import store as stores
from keybed.extract.config import ExtractConfig
from keybed.extract.corpus.layouts import read_corpus
from keybed.extract.planning.plan import dry_run, plan
from keybed.extract.run.task import extract
from keybed.store.format.vocabulary import Status
from tests.extract.planning.small_plans import config_for, midi_names, rewritten


def test_bad_midi_keeps_its_rows_and_is_reported(tiny_corpus: Path, tmp_path: Path) -> None:
    corpus = rewritten(tiny_corpus, tmp_path / "corpus", {})
    absent, empty, truncated, other = (corpus / name for name in midi_names(corpus))
    absent.unlink()
    empty.write_bytes(b"")
    truncated.write_bytes(truncated.read_bytes()[: truncated.stat().st_size // 2])
    other.write_bytes(b"RIFF, this is no MIDI file at all")
    report = plan(config_for(corpus, tmp_path / "store", limit=None))
    assert report.n_recordings_used == 4
    assert len(report.problems) == 4
    reasons = ("No such file", "an empty file", "cut short", "not a MIDI file")
    for path, words, problem in zip((absent, empty, truncated, other), reasons, report.problems, strict=True):
        assert problem.startswith(f"{path.parent.name}/{path.name}: {words}")
        assert str(corpus) not in problem
    assert all(problem in "\n".join(report.lines()) for problem in report.problems)
    entries = stores.open(tmp_path / "store").recordings
    assert [bool(entry["midi_problem"]) for entry in entries] == [True] * 4
    assert entries[0]["midi_sha256"] == "absent"


def test_files_that_may_not_or_cannot_be_opened_are_rows_like_unreadable_files(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked, pipe, long_name, _ = midi_names(tiny_corpus)
    changes = {long_name: {"midi_filename": "2004/" + "n" * 306 + ".midi"}}
    corpus = rewritten(tiny_corpus, tmp_path / "corpus", changes)
    (corpus / pipe).unlink()
    os.mkfifo(corpus / pipe)
    stat = Path.stat

    def denied(path: Path, **settings: bool) -> os.stat_result:
        if path.name == Path(locked).name:  # as in a folder without the x bit, which root could search nevertheless
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **settings)

    monkeypatch.setattr(Path, "stat", denied)
    report = plan(config_for(corpus, tmp_path / "store", limit=None))
    assert report.n_recordings_used == 4
    reasons = ("Permission denied", "a named pipe, socket or device, not a file; it was not read", "File name too long")
    assert [problem.partition(": ")[2] for problem in report.problems] == list(reasons)
    entries = stores.open(tmp_path / "store").recordings
    assert [bool(entry["midi_problem"]) for entry in entries] == [True, True, True, False]


def test_a_name_longer_than_a_file_system_allows_makes_rows_with_a_status(tiny_corpus: Path, tmp_path: Path) -> None:
    """The first recording's MIDI and sound: Path.exists and Path.is_file raise for such names in a folder that exists."""
    for column, audio, status in (
        ("midi_filename", "rendered", Status.MIDI_UNREADABLE),
        ("audio_filename", "recorded", Status.AUDIO_UNREADABLE),
    ):
        first, *_ = midi_names(tiny_corpus)
        name = "2004/" + "n" * 306 + ".mid"
        corpus = rewritten(tiny_corpus, tmp_path / audio, {first: {column: name}})
        for recording in read_corpus(corpus).recordings[1:]:
            (corpus / recording.audio).parent.mkdir(exist_ok=True)
            soundfile.write(corpus / recording.audio, np.zeros(round(recording.duration_s * 8000)), 8000)
        store = tmp_path / f"{audio}-store"
        report = plan(config_for(corpus, store, limit=None, audio=audio))
        assert report.problems == (f"{name}: File name too long",)
        extract(ExtractConfig(store, workers=0))
        opened = stores.open(store)
        first_recording = opened.columns(0, report.n_rows)["recording"] == 0
        has_status = opened.read("row/status", np.arange(report.n_rows)) == status
        assert first_recording.any()
        assert has_status.tolist() == first_recording.tolist()


def test_equal_files_under_two_titles_are_one_piece_and_a_line_of_the_report(tiny_corpus: Path, tmp_path: Path) -> None:
    first, _, third, last = midi_names(tiny_corpus)
    corpus = rewritten(tiny_corpus, tmp_path / "corpus", {})
    shutil.copyfile(corpus / first, corpus / last)
    before, after = (dry_run(config_for(folder, tmp_path / "s")) for folder in (tiny_corpus, corpus))
    assert before.pieces.equal_files == ()
    (line,) = after.pieces.equal_files
    assert line.startswith(f"{first} = {last} (")
    assert f"  {line}" in after.lines()
    assert len(after.pieces.names) == len(before.pieces.names) - 1
    # All files are compared, used or not, and a file that no row uses is part of the corpus hash.
    plan(config_for(tiny_corpus, tmp_path / "store", limit=3))
    assert (
        not stores.open(tmp_path / "store").recordings[0]["used"]
        or not stores.open(tmp_path / "store").recordings[3]["used"]
    )
    assert dry_run(config_for(corpus, tmp_path / "s", limit=1)).pieces.equal_files == (line,)
    assert third in {entry["midi"] for entry in stores.open(tmp_path / "store").recordings}


def test_names_in_another_unicode_composition_are_found(tiny_corpus: Path, tmp_path: Path) -> None:
    first, *_ = midi_names(tiny_corpus)
    nfc, nfd = (unicodedata.normalize(form, "2004/Après une lecture.midi") for form in ("NFC", "NFD"))
    corpus = rewritten(tiny_corpus, tmp_path / "corpus", {first: {"midi_filename": nfc}})
    (corpus / nfd).parent.mkdir(exist_ok=True)
    (corpus / first).rename(corpus / nfd)
    assert plan(config_for(corpus, tmp_path / "store", limit=None)).problems == ()


def test_notes_left_out_are_a_line_of_the_report(tiny_corpus: Path, tmp_path: Path) -> None:
    corpus = rewritten(tiny_corpus, tmp_path / "corpus", {})
    first = corpus / midi_names(corpus)[0]
    file = mido.MidiFile(first)
    strings = [mido.Message("program_change", program=48, channel=3)]
    strings += [mido.Message("note_on", note=60 + i, velocity=50, channel=3) for i in range(5)]
    file.tracks.append(mido.MidiTrack(strings))
    file.save(first)
    report = plan(config_for(corpus, tmp_path / "store", limit=None))
    n_notes = stores.open(tmp_path / "store").recordings[0]["n_notes"]
    (line,) = report.problems
    assert line == f"{midi_names(corpus)[0]}: 5 of {n_notes + 5:,} notes are left out: 5 of other instruments"
    assert f"  {line}" in report.lines()


def test_sound_that_is_longer_or_shorter_than_the_csv_says_is_reported(tiny_corpus: Path, tmp_path: Path) -> None:
    corpus = rewritten(tiny_corpus, tmp_path / "corpus", {})
    recordings = read_corpus(corpus).recordings
    for recording, extra_s in zip(recordings, (0.0, 1.9, 60.0, -5.0), strict=True):
        (corpus / recording.audio).parent.mkdir(exist_ok=True)
        soundfile.write(corpus / recording.audio, np.zeros(round((recording.duration_s + extra_s) * 8000)), 8000)
    longer, shorter = dry_run(config_for(corpus, tmp_path / "store", limit=None, audio="recorded")).problems
    assert longer.startswith(f"{recordings[2].audio}: {recordings[2].duration_s + 60:.1f} s of sound for ")
    assert longer.endswith("the last 60.0 s of the sound are in none")
    assert shorter.startswith(f"{recordings[3].audio}: {recordings[3].duration_s - 5:.1f} s of sound for ")


def test_durations_that_disagree_and_recordings_too_short_are_reported(tiny_corpus: Path, tmp_path: Path) -> None:
    first, second, third, *_ = midi_names(tiny_corpus)
    changes = {first: {"duration": "9.5"}, second: {"duration": "70.0"}, third: {"duration": "20.0"}}
    corpus = rewritten(tiny_corpus, tmp_path / "corpus", changes)
    report = plan(config_for(corpus, tmp_path / "store", limit=None))
    assert report.too_short == (f"{first}: 9.5 s",)
    longer, shorter = report.problems
    assert "the CSV says 70.0 s" in longer
    assert "without notes become rows with status NO_NOTES" in longer
    assert "the CSV says 20.0 s" in shorter
    assert re.search(r"the last \d\d\.\d s of the MIDI are in none", shorter)
    columns = stores.open(tmp_path / "store").columns(0, report.n_rows)
    assert 0 not in columns["recording"]
    assert columns["start_s"].max() == pytest.approx(9 * 6.2)
