from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybed.extract.encoders.aria import tokens
from keybed.extract.encoders.aria.midi_file import tokens_of_file
from keybed.extract.encoders.aria.tokens import cut, tokenize
from keybed.extract.encoders.errors import EncoderError
from keybed.extract.music.midi import read_midi
from keybed.extract.music.performance import Performance

STYLE = "aria-tiny"


def _files(goldens: Path) -> list[dict[str, Any]]:
    return list(json.loads((goldens / STYLE / "tokens.json").read_text())["files"])


def _notes(*rows: tuple[float, float, int, int], pedal: tuple[tuple[float, int], ...] = ()) -> Performance:
    onset, offset, pitch, velocity = (
        (np.array(column) for column in zip(*rows, strict=True)) if rows else [np.zeros(0)] * 4
    )
    return Performance(
        onset.astype(np.float64),
        offset.astype(np.float64),
        pitch.astype(np.int16),
        velocity.astype(np.int16),
        np.array([t for t, _ in pedal], np.float64),
        np.array([v for _, v in pedal], np.int16),
    )


def test_every_midi_files_tokens_are_the_authors(goldens: Path) -> None:
    """Of the 24 windows, those whose ticks the authors read in their own way included."""
    files = _files(goldens)
    assert len(files) == 24
    for file in files:
        assert tokens_of_file(goldens / STYLE / file["midi"]).tolist() == file["tokens"], file["kind"]


def test_tokens_from_seconds_are_the_authors_but_for_two_windows(goldens: Path) -> None:
    others = []
    for file in _files(goldens):
        if not file["notes"]:
            assert tokenize(Performance.empty()).ids.tolist() == file["tokens"] == []
            continue
        tokenized = tokenize(read_midi(goldens / STYLE / file["midi"]))
        assert len(tokenized.note_at) == len(tokenized.onset_s) == file["notes"]
        if tokenized.ids.tolist() != file["tokens"]:
            others.append(file)
            assert file["from_seconds"] != "equal", file["kind"]
            if file["from_seconds"].startswith("same tokens in another order"):
                assert sorted(tokenized.ids.tolist()) == sorted(file["tokens"])
            else:  # the authors' mistake with tempi lies in the durations alone
                at = set(tokenized.note_at.tolist())
                pairs = zip(tokenized.ids.tolist(), file["tokens"], strict=True)
                assert {i for i, (ours, theirs) in enumerate(pairs) if ours != theirs} <= at
    assert len(others) <= 2


def test_vocabulary_is_the_authors(goldens: Path) -> None:
    vocabulary = json.loads((goldens / STYLE / "vocabulary.json").read_text())
    first = vocabulary["first_id"]
    assert vocabulary["size"] == tokens.VOCABULARY_SIZE
    assert (first["note"], first["dur"], first["onset"]) == (
        tokens.FIRST_NOTE,
        tokens.FIRST_DURATION,
        tokens.FIRST_ONSET,
    )
    special = vocabulary["special"]
    assert (special.index("<S>"), special.index("<E>"), special.index("<T>")) == (
        tokens.START,
        tokens.END,
        tokens.TIME_BREAK,
    )
    assert first["prefix"] + vocabulary["prefix"].index("prefix|instrument|piano") == tokens.PIANO
    assert special.index("<P>") == tokens.PADDING


@pytest.mark.parametrize(
    ("n_steps", "n_values"), [(13, 128), (500, 5000), (501, 5001)], ids=["velocity", "onset", "duration"]
)
def test_the_nearest_step_is_nearest(n_steps: int, n_values: int) -> None:
    nearest = tokens._nearest(n_steps, 10, n_values)
    values = np.arange(n_values)
    distance = np.abs(nearest * 10 - values)
    assert (distance == np.abs(np.arange(n_steps)[:, None] * 10 - values).min(0)).all()


def test_ties_go_to_the_step_that_the_search_meets_first() -> None:
    nearest = tokens._nearest(500, 10, 5000)
    # As the authors' tokenizer has them: neither half up, nor half down, nor half to even.
    assert [int(nearest[ms]) * 10 for ms in (5, 15, 25, 35)] == [0, 20, 20, 40]


def test_a_lone_late_note_begins_at_0() -> None:
    ids, note_at, onset_s = tokenize(_notes((9.5, 9.8, 60, 80)))
    assert ids.tolist() == [6, 0, 39 + 60 * 13 + 8, 17_227, 16_726 + 30, 1]
    assert note_at.tolist() == [4]
    assert onset_s.tolist() == [9.5]


def test_time_breaks_stand_for_every_5_seconds_empty_ones_too() -> None:
    ids, note_at, _ = tokenize(
        _notes((1.0, 1.1, 60, 80), (5.99, 6.1, 60, 80), (6.0, 6.1, 62, 80), (17.0, 17.5, 60, 80))
    )
    assert ids.tolist().count(tokens.TIME_BREAK) == 3
    assert ids[note_at - 1].tolist() == [17_227 + ms // 10 for ms in (0, 4990, 0, 1000)]
    assert (ids[note_at[2] - 3], ids[note_at[3] - 4 : note_at[3] - 2].tolist()) == (5, [5, 5])


def test_short_long_soft_and_loud_notes_keep_to_the_vocabulary() -> None:
    ids, note_at, _ = tokenize(_notes((0.0, 0.001, 0, 1), (0.1, 60.0, 127, 127)))
    assert ids[note_at].tolist() == [16_726 + 1, 16_726 + 500]
    assert ids[note_at - 2].tolist() == [39 + 1, 39 + 127 * 13 + 12]
    assert ids.max() < tokens.VOCABULARY_SIZE


@pytest.mark.parametrize(("pitch", "velocity"), [(128, 64), (-1, 64), (60, 0), (60, 128)])
def test_notes_that_midi_does_not_have_are_refused(pitch: int, velocity: int) -> None:
    with pytest.raises(EncoderError, match=r"a note has (pitch|velocity) -?\d+, outside the range of MIDI"):
        tokenize(_notes((0.0, 0.5, 60, 64), (1.0, 1.5, pitch, velocity)))


def test_a_release_strictly_inside_the_pedal_moves_to_its_lift() -> None:
    releases = np.array([0.5, 1.0, 1.5, 2.0, 2.5, 3.5])
    down, up = tokens.pedal_spans(np.array([1.0, 1.2, 2.0, 3.0]), np.array([True, True, False, True]), 4.0)
    assert (down.tolist(), up.tolist()) == ([1.0, 3.0], [2.0, 4.0])
    assert tokens.sustained(releases, down, up).tolist() == [0.5, 1.0, 2.0, 2.0, 2.5, 4.0]


def test_a_window_lets_keys_and_pedal_go_at_its_end() -> None:
    pedal = ((-2.0, 0), (-1.0, 100), (9.0, 10), (9.5, 90), (11.0, 0))
    whole = _notes(
        (-0.5, 3.0, 50, 60),
        (1.0, 2.0, 60, 60),
        (9.2, 9.6, 62, 60),
        (9.8, 12.0, 64, 60),
        (10.0, 11.0, 65, 60),
        pedal=pedal,
    )
    window = cut(whole, 10.0)
    assert window.onset_s.tolist() == [1.0, 9.2, 9.8]
    ids, note_at, _ = tokenize(window)
    # Held by the pedal from before the window to 9.0; by the second pedal to the end; by the key to the end.
    assert (ids[note_at] - 16_726).tolist() == [500, 80, 20]
    assert cut(window, 10.0).offset_s.tolist() == window.offset_s.tolist()


def test_a_window_without_notes_has_no_token() -> None:
    assert tokenize(cut(_notes((-1.0, 5.0, 60, 60), (10.0, 12.0, 60, 60)), 10.0)).ids.size == 0
    assert tokens.slices(Performance.empty(), 300) == []


def test_slices_keep_all_of_the_pedal() -> None:
    many = _notes(*((i / 10, i / 10 + 0.05, 60, 60) for i in range(7)), pedal=((0.0, 127), (0.9, 0)))
    parts = tokens.slices(many, 3)
    assert [part.n_notes for part in parts] == [3, 3, 1]
    assert [(ids[at] - 16_726).tolist() for ids, at, _ in map(tokenize, parts)] == [[90, 80, 70], [60, 50, 40], [30]]


@given(
    st.lists(
        st.tuples(st.integers(0, 9999), st.integers(1, 9000), st.integers(0, 127), st.integers(1, 127)), min_size=1
    )
)
def test_any_notes_give_three_tokens_each_within_the_vocabulary(rows: list[tuple[int, int, int, int]]) -> None:
    performance = _notes(*((on / 1000, (on + length) / 1000, pitch, velocity) for on, length, pitch, velocity in rows))
    ids, note_at, onset_s = tokenize(performance)
    n_breaks = (max(row[0] for row in rows) - min(row[0] for row in rows)) // 5000
    assert len(ids) == 3 * len(rows) + 3 + n_breaks
    assert ((ids[note_at] > 16_726) & (ids[note_at] < 17_227)).all()
    assert ((ids[note_at - 1] >= 17_227) & (ids[note_at - 1] < tokens.VOCABULARY_SIZE)).all()
    assert ((ids[note_at - 2] >= 39) & (ids[note_at - 2] < 39 + 128 * 13)).all()
    assert (np.diff(onset_s) >= 0).all()
