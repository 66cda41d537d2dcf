from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from keybed.extract.corpus.csv_corpus import MAESTRO_COLUMNS as COLUMNS
from keybed.extract.corpus.layouts import read_corpus
from keybed.extract.corpus.metadata import CorpusError
from keybed.extract.regular_files import find_file

HEADER = ",".join(COLUMNS)
LINE = "Clara Schumann,Romance,train,2004,2004/a.midi,2004/a.wav,61.5"


def written(folder: Path, *lines: str, header: str = HEADER) -> Path:
    (folder / "maestro-v3.0.0.csv").write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    return folder


def test_reads_maestro_v3(shared_data: Path) -> None:
    corpus = read_corpus(shared_data / "maestro-v3.0.0.csv")
    assert len(corpus.recordings) == 1276
    assert sum(recording.duration_s for recording in corpus.recordings) / 3600 == pytest.approx(198.65, abs=0.01)
    assert corpus.recordings[0].composer == "Alban Berg"


def test_reads_a_folder_and_its_only_csv(tmp_path: Path) -> None:
    written(tmp_path, LINE).joinpath("maestro-v3.0.0.csv").rename(tmp_path / "mine.csv")
    (recording,) = read_corpus(tmp_path).recordings
    assert (recording.midi, recording.audio, recording.duration_s) == ("2004/a.midi", "2004/a.wav", 61.5)


def test_names_the_missing_column(tmp_path: Path) -> None:
    header = ",".join(c for c in COLUMNS if c != "midi_filename")
    with pytest.raises(CorpusError, match=r"no column midi_filename; its columns are canonical_composer, .*duration\."):
        read_corpus(written(tmp_path, "a,b,train,2004,x.wav,1", header=header))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (LINE.replace("train", "dev"), "line 3: split 'dev'"),
        (LINE.replace("61.5", "long"), "line 3: duration 'long'"),
        (LINE.replace("61.5", "nan"), "line 3: duration 'nan'"),
        (LINE.replace("61.5", "-3"), "line 3: duration '-3'"),
        (LINE.replace("61.5", "1e9"), "line 3: duration 1e9 s is more than a day"),
        (LINE.replace("2004/a.midi", "a" * 4_000), r"line 3: midi_filename has 4,000 characters \('a{40}…'\)"),
        (LINE.replace("Romance", "R" * 4_000), "line 3: canonical_title has 4,000 characters"),
        (LINE.replace("2004/a.midi", ""), "line 3: no midi_filename"),
        (LINE.replace("2004/a.midi", "../a.midi"), "line 3: '../a.midi' leaves"),
        (LINE.replace("2004/a.midi", "2004/../../a.midi"), "leaves"),
        (LINE.replace("2004/a.midi", "/etc/a.midi"), "leaves"),
        (LINE.replace("2004/a.midi", "C:a.midi"), "leaves"),
        (LINE.replace("2004/a.midi", "..\\a.midi"), "leaves"),
        (LINE.replace("2004/a.wav", "../../a.wav"), "leaves"),
        (LINE, "already named for recording 0"),
        (LINE + ",8,9", "line 3: 7 columns in the header"),
        ("a,b", "line 3: 7 columns in the header"),
        ('"' + "a" * 200_000 + '"' + LINE, "after line 2: not CSV as MAESTRO writes it"),
    ],
)
def test_refuses_a_line_and_names_it(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        read_corpus(written(tmp_path, LINE, line))


def test_says_which_columns_another_corpus_has(tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as caught:
        read_corpus(written(tmp_path, "a,b,1.0", header="composer,title,duration"))
    text = str(caught.value)
    assert "no column midi_filename; its columns are composer, title, duration." in text
    assert "--columns 'midi_filename=composer'" in text


def test_names_that_differ_in_unicode_composition_are_one_file(tmp_path: Path) -> None:
    nfc, nfd = (unicodedata.normalize(form, "2004/Prélude à l'été.midi") for form in ("NFC", "NFD"))
    assert nfc != nfd
    for in_csv, on_disk, folder in ((nfc, nfd, tmp_path / "a"), (nfd, nfc, tmp_path / "b")):
        (folder / "2004").mkdir(parents=True)
        (folder / on_disk).touch()
        corpus = read_corpus(written(folder, LINE.replace("2004/a.midi", in_csv)))
        assert corpus.midi_path(corpus.recordings[0]) == folder / on_disk
    (tmp_path / "a" / nfc).touch()
    assert find_file(tmp_path / "a", nfc) == tmp_path / "a" / nfc, "a name that exists as written is not replaced"
    assert find_file(tmp_path / "a", "2005/é.midi") == tmp_path / "a" / "2005" / "é.midi"
    twice = (LINE.replace("2004/a.midi", name) for name in (nfc, nfd))
    with pytest.raises(CorpusError, match="already named for recording 0"):
        read_corpus(written(tmp_path / "a", *twice))


def test_a_pipe_in_place_of_the_csv_is_refused_and_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "maestro-v3.0.0.csv")
    for path in (tmp_path, tmp_path / "maestro-v3.0.0.csv"):
        with pytest.raises(CorpusError, match="a named pipe, socket or device"):
            read_corpus(path)
    with pytest.raises(CorpusError, match=r"cannot be read \(File name too long"):
        read_corpus(tmp_path / ("a" * 306))


def test_refuses_what_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such folder"):
        read_corpus(tmp_path / "absent")
    with pytest.raises(CorpusError, match=r"no MIDI file in it or in its folders; .* or a CSV"):
        read_corpus(tmp_path)
    with pytest.raises(CorpusError, match="no recordings"):
        read_corpus(written(tmp_path))
    (tmp_path / "maestro-v3.0.0.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorpusError, match="not UTF-8"):
        read_corpus(tmp_path)


def test_names_the_columns_that_the_header_has(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="line 2: 8 columns in the header"):
        read_corpus(written(tmp_path, LINE, header=HEADER + ",remark"))


def test_a_csv_that_cannot_be_read_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").mkdir()
    with pytest.raises(CorpusError, match=r"mine\.csv: cannot be read \(a folder, not a file\)"):
        read_corpus(tmp_path)
