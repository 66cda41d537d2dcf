from __future__ import annotations

import json
from pathlib import Path

import pytest

from keybed.extract.corpus.columns import pairs_of
from keybed.extract.corpus.draw_splits import draw_splits
from keybed.extract.corpus.durations import with_durations
from keybed.extract.corpus.layouts import Reading, read_corpus
from keybed.extract.corpus.metadata import CorpusError
from keybed.extract.corpus.pieces import find_pieces
from keybed.extract.planning.plan import plan
from keybed.extract.progress import silent
from tests.extract.corpus.small_music import scale_file, silent_file
from tests.extract.planning.small_plans import config_for

ASAP_HEADER = (
    "composer,title,folder,xml_score,midi_score,midi_performance,performance_annotations,midi_score_annotations,"
    "maestro_midi_performance,maestro_audio_performance,start,end,audio_performance"
)
"""As metadata.csv of github.com/fosfrancesco/asap-dataset has it."""


def named(folder: Path, reading: Reading = Reading()) -> dict[str, tuple[str, str]]:  # noqa: B008
    return {r.midi: (r.piece, r.audio) for r in read_corpus(folder, reading).recordings}


def test_a_folder_of_midi_files_is_a_corpus(tmp_path: Path) -> None:
    scale_file(tmp_path / "Valse.mid", 12)
    scale_file(tmp_path / "Valse (take 2).mid", 13, lowest=41)
    scale_file(tmp_path / 'it\'s "mine".midi', 11, lowest=42)
    silent_file(tmp_path / 'it\'s "mine".wav', 12)
    silent_file(tmp_path / 'it\'s "mine".flac', 12)
    silent_file(tmp_path / "alone.wav", 1)
    (tmp_path / ".hidden.mid").touch()
    corpus = with_durations(read_corpus(tmp_path), 1, silent)
    assert {r.midi: (r.piece, r.audio) for r in corpus.recordings} == {
        "Valse.mid": ("valse", ""),
        "Valse (take 2).mid": ("valse", ""),
        'it\'s "mine".midi': ('it\'s "mine"', 'it\'s "mine".wav'),
    }
    assert {r.midi: r.duration_s for r in corpus.recordings} == pytest.approx(
        {"Valse.mid": 12, "Valse (take 2).mid": 13, 'it\'s "mine".midi': 11}, abs=0.01
    )
    assert corpus.left_out == (
        "alone.wav: a sound file without a MIDI file of its name",
        'it\'s "mine".flac: a second sound file of the name of it\'s "mine".wav',
    )
    assert "3 files, 1 with a sound file of the same name" in corpus.remarks[0]


def test_of_two_midi_files_of_one_name_one_is_left_out_and_listed(tmp_path: Path) -> None:
    for name in ("a.midi", "a.mid", "b.MID"):
        scale_file(tmp_path / name, 2)
    corpus = read_corpus(tmp_path)
    assert [recording.midi for recording in corpus.recordings] == ["a.mid", "b.MID"]
    assert corpus.left_out == ("a.midi: a second MIDI file of the name of a.mid",)


def test_the_folder_is_the_piece_where_every_file_lies_in_one(tmp_path: Path) -> None:
    for name in ("Bach/846/Shi.mid", "Bach/846/Lee.mid", "Bach/847/Shi.mid"):
        scale_file(tmp_path / name, 2)
    assert {piece for piece, _ in named(tmp_path).values()} == {"Bach/846", "Bach/847"}
    assert {piece for piece, _ in named(tmp_path, Reading(piece_from="file")).values()} == {"shi", "lee"}
    scale_file(tmp_path / "extra.mid", 2)
    assert {piece for piece, _ in named(tmp_path).values()} == {"shi", "lee", "extra"}


def test_asap_and_percepiano_are_known_by_their_files(tmp_path: Path) -> None:
    asap, percepiano = tmp_path / "asap", tmp_path / "percepiano"
    scale_file(asap / "Bach/Fugue/bwv_846/Shi05M.mid", 2)
    lines = [
        "Bach,Fugue_bwv_846,Bach/Fugue/bwv_846,x.musicxml,s.mid,Bach/Fugue/bwv_846/Shi05M.mid,,,,,144.5,,Bach/Fugue/bwv_846/Shi05M.wav",
        "Bach,Fugue_bwv_848,Bach/Fugue/bwv_848,x.musicxml,s.mid,,,,,,,,",
    ]
    (asap / "metadata.csv").write_text("\n".join((ASAP_HEADER, *lines)))
    corpus = read_corpus(asap)
    (recording,) = corpus.recordings
    assert (recording.composer, recording.title, recording.split, recording.duration_s) == (
        "Bach", "Fugue_bwv_846", "", None,
    )  # fmt: skip
    assert (recording.midi, recording.audio) == (
        "Bach/Fugue/bwv_846/Shi05M.mid",
        "Bach/Fugue/bwv_846/Shi05M.wav",
    )
    assert corpus.left_out == ("metadata.csv, line 3: no midi_performance",)
    scale_file(percepiano / "midi" / " Schubert_D960_mv3_8bars_2_1.mid", 2)
    scale_file(percepiano / "midi" / "Beethoven_WoO80_var3_8bars_1_1.mid", 2)
    scale_file(percepiano / "midi" / "notes.mid", 2)
    (percepiano / "labels").mkdir()
    (percepiano / "labels" / "label_mean.json").write_text(json.dumps({}))
    corpus = read_corpus(percepiano)
    assert corpus.folder == percepiano / "midi"
    assert {(r.midi, r.piece) for r in corpus.recordings} == {
        (" Schubert_D960_mv3_8bars_2_1.mid", "Schubert_D960_mv3"),
        ("Beethoven_WoO80_var3_8bars_1_1.mid", "Beethoven_WoO80"),
    }
    assert corpus.left_out == ("notes.mid: its name is not composition_player_segment",)


def test_columns_are_mapped_by_name_and_by_content(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("work;file;who\nNocturne;a b.mid;Ann\nWaltz;c.mid;Bob\n")
    corpus = read_corpus(tmp_path, Reading(columns=pairs_of(("title=work", "midi=file"))))
    assert [(r.title, r.midi, r.piece) for r in corpus.recordings] == [
        ("Nocturne", "a b.mid", ""),
        ("Waltz", "c.mid", ""),
    ]
    assert corpus.remarks == (
        "read as a CSV, mine.csv: canonical_title = work, midi_filename = file",
        "columns that were not mapped: who",
    )
    corpus = read_corpus(tmp_path)
    assert [(r.title, r.midi, r.piece) for r in corpus.recordings] == [
        ("a b", "a b.mid", "a b"),
        ("c", "c.mid", "c"),
    ], "the only column of MIDI names is found by itself; no title means that each name is a piece"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("titel=work",), "there is no field titel; did you mean title"),
        (("title=wrok",), "has no column wrok; did you mean work?; its columns are work, file"),
        (("title",), "write NAME=COLUMN"),
        (("title=work", "title=file"), "title is given twice"),
        (("title=work", "canonical_title=file"), "canonical_title is given twice"),
    ],
)
def test_a_wrong_map_of_columns_says_what_was_meant(tmp_path: Path, given: tuple[str, ...], message: str) -> None:
    (tmp_path / "mine.csv").write_text("work,file\nNocturne,a.mid\n")
    with pytest.raises(CorpusError) as caught:
        read_corpus(tmp_path, Reading(columns=pairs_of(given)))
    assert message.rstrip("?") in str(caught.value)


def test_what_is_asked_for_must_fit_the_layout(tmp_path: Path) -> None:
    scale_file(tmp_path / "a.mid", 2)
    with pytest.raises(CorpusError, match="--pieces is for a folder"):
        read_corpus(tmp_path, Reading("csv", piece_from="file"))
    with pytest.raises(CorpusError, match="--columns maps the columns of a CSV"):
        read_corpus(tmp_path, Reading("folder", {"title": "work"}))
    with pytest.raises(CorpusError, match="is a file; the layout folder is a folder"):
        read_corpus(tmp_path / "a.mid", Reading("folder"))
    (tmp_path / "one.csv").write_text("file\na.mid\n")
    (tmp_path / "two.csv").write_text("file\na.mid\n")
    with pytest.raises(CorpusError, match=r"CSV files there: one.csv, two.csv\).*or --layout folder"):
        read_corpus(tmp_path)
    assert list(named(tmp_path, Reading("folder"))) == ["a.mid"]
    assert list(named(tmp_path, Reading(not_listing=tmp_path / "two.csv"))) == ["a.mid"]


def test_splits_are_drawn_by_piece_and_given_ones_stay(tmp_path: Path) -> None:
    lines = [f"p{i % 12}/{i}.mid,Etude Op. {i % 12},60,{'test' if i % 12 == 3 else ''}" for i in range(36)]
    (tmp_path / "mine.csv").write_text("\n".join(("midi,title,duration,split", *lines)))
    recordings = read_corpus(tmp_path).recordings
    pieces = find_pieces(recordings, seed=5)
    assert pieces.n_drawn == 11
    assert pieces.repairs == ()
    assert {pieces.split_of[i] for i in (3, 15, 27)} == {"test"}
    for first in range(12):
        assert len({pieces.split_of[i] for i in range(first, 36, 12)}) == 1
    assert find_pieces(recordings, seed=5).split_of == pieces.split_of
    assert find_pieces(recordings, seed=6).split_of != pieces.split_of


def test_drawn_splits_hold_their_share_and_skip_the_longest_piece() -> None:
    names = [f"piece {i}" for i in range(40)]
    splits = draw_splits(names, [1.0] * 40, seed=0)
    assert (splits.count("test"), splits.count("validation"), splits.count("train")) == (4, 4, 32)
    splits = draw_splits(names, [100.0, *[1.0] * 39], seed=0)
    assert splits[0] == "train"
    assert set(splits) == {"train", "validation", "test"}
    assert sorted(draw_splits(["a", "b", "c"], [5.0, 1.0, 9.0], seed=1)) == ["test", "train", "validation"]
    assert draw_splits(["a", "b"], [1.0, 1.0], seed=0) == ["train", "train"]
    most = draw_splits(names, [1.0] * 40, seed=0)
    grown = draw_splits([*names, "one more"], [1.0] * 41, seed=0)
    assert sum(a == b for a, b in zip(most, grown, strict=False)) >= 36


def test_a_store_is_planned_from_a_folder_with_one_unreadable_file(tmp_path: Path) -> None:
    music = tmp_path / "my music's"
    for number in range(4):
        scale_file(music / f"étude {number}.mid", 30 + number, lowest=40 + number)
    (music / "broken.mid").write_bytes(b"MThd")
    report = plan(config_for(music, tmp_path / "a store", limit=None))
    assert (report.n_recordings, report.n_recordings_used) == (5, 4)
    assert len(report.unreadable) == 1
    assert report.unreadable[0].startswith("broken.mid: ")
    text = "\n".join(report.lines())
    assert "MIDI files that cannot be read, left out: 1" in text
    assert "splits drawn with the seed for 5 pieces" in text
    with pytest.raises(CorpusError, match="no MIDI file in it"):
        plan(config_for(tmp_path / "a store" / "claims", tmp_path / "b"))
    again = plan(config_for(music, tmp_path / "a store", limit=None))
    assert again.n_rows == report.n_rows


def test_sound_shorter_than_its_midi_is_reported(tmp_path: Path) -> None:
    scale_file(tmp_path / "music" / "a.mid", 40)
    silent_file(tmp_path / "music" / "a.wav", 21)
    report = plan(config_for(tmp_path / "music", tmp_path / "store", limit=None, audio="recorded"))
    assert report.problems == (
        "a.wav: 21.0 s of sound for 40.0 s of the MIDI; the rows of the windows beyond it become AUDIO_TOO_SHORT",
    )
