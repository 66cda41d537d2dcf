from __future__ import annotations

import json
from pathlib import Path

import mido
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybed.extract.encoders.midibert import cp_tokens
from keybed.extract.encoders.midibert.cp_tokens import tokenize
from keybed.extract.music.performance import Performance


def notes(*rows: tuple[float, float, int]) -> Performance:
    """Notes from (onset in ticks, end in ticks, pitch)."""
    table = np.array(rows, np.float64).reshape(-1, 3)
    return Performance(
        table[:, 0] / 960, table[:, 1] / 960, table[:, 2].astype(np.int16), np.full(len(rows), 64, np.int16)
    )


def read_window(file: Path) -> Performance:
    finished, sounding = [], {}
    for message_ticks, message in _messages(mido.MidiFile(file)):
        if message.type == "note_on" and message.velocity > 0:
            sounding[message.note] = message_ticks
        elif message.type in ("note_on", "note_off"):
            finished.append((sounding.pop(message.note), message_ticks, message.note))
    return notes(*sorted(finished, key=lambda note: (note[0], note[2])))


def _messages(midi: mido.MidiFile):  # type: ignore[no-untyped-def]
    for track in midi.tracks:
        ticks = 0
        for message in track:
            ticks += message.time
            yield ticks, message


@pytest.mark.parametrize("window", range(24))
def test_the_authors_tokens(goldens: Path, window: int) -> None:
    expected = json.loads((goldens / "cp" / "tokens.json").read_text())["files"][window]
    tokens = tokenize(read_window(goldens / "cp" / expected["midi"]), 10.0)
    np.testing.assert_array_equal(tokens.ids, expected["tokens"])
    assert len(tokens.onset_s) == expected["notes"]


def test_vocabulary_is_the_authors(goldens: Path) -> None:
    vocabulary = json.loads((goldens / "cp" / "vocabulary.json").read_text())
    assert tuple(len(words) for words in vocabulary.values()) == cp_tokens.VOCABULARY_SIZES
    assert tuple(vocabulary[kind][f"{kind} <PAD>"] for kind in vocabulary) == cp_tokens.PAD
    assert vocabulary["Bar"]["Bar New"] == cp_tokens.BAR_NEW
    assert vocabulary["Pitch"][f"Pitch {cp_tokens.LOWEST}"] == 0
    assert vocabulary["Pitch"][f"Pitch {cp_tokens.HIGHEST}"] == 85


def test_a_lone_note_at_tick_0_and_a_chord_there() -> None:
    assert tokenize(notes((0, 480, 60)), 10.0).ids.tolist() == [[0, 0, 38, 7]]
    assert tokenize(notes((0, 480, 60), (0, 60, 64)), 10.0).ids.tolist() == [[0, 0, 38, 7], [1, 0, 42, 0]]


def test_the_outermost_keys_move_one_octave_inwards() -> None:
    ids = tokenize(notes((0, 60, 21), (240, 300, 108), (480, 540, 22), (960, 1020, 107)), 10.0).ids
    assert (ids[:, 2] + 22).tolist() == [33, 96, 22, 107]


def test_no_notes_no_tokens() -> None:
    assert tokenize(notes(), 10.0).ids.shape == (0, 4)
    assert tokenize(notes((-480, 100, 60), (9600, 9700, 60)), 10.0).ids.shape == (0, 4)


def test_more_than_512_notes_are_cut_as_the_authors_cut_pieces() -> None:
    assert cp_tokens.slices(512) == [slice(0, 512)]
    assert cp_tokens.slices(1025) == [slice(0, 512), slice(512, 1024), slice(1024, 1025)]
    assert cp_tokens.slices(0) == []
    many = notes(*((tick, tick + 60, 60) for tick in range(0, 9600, 16)))
    assert len(tokenize(many, 10.0).ids) == 600


def test_ends_are_cut_at_the_windows_end_and_bars_without_notes_vanish() -> None:
    ids = tokenize(notes((0, 60, 60), (5760, 9000, 60), (9480, 99999, 60)), 10.0).ids
    assert ids[:, 0].tolist() == [0, 0, 0]
    assert ids[2, 3] == 1  # 120 ticks are left


def by_the_authors_loops(performance: Performance) -> list[list[int]]:
    """The authors' steps one by one, for windows they accept, with numpy.argmin where they have it."""
    rows = [
        [round(on * 960), round(min(off, 10.0) * 960), int(pitch)]
        for on, off, pitch in zip(performance.onset_s, performance.offset_s, performance.pitch, strict=True)
    ]
    rows.sort(key=lambda row: (row[0], row[2]))
    grid = np.arange(0, rows[-1][0], 120)
    for row in rows:
        shift = grid[np.argmin(abs(grid - row[0]))] - row[0]
        row[0] += shift
        row[1] += shift
    ids = []
    for bar in np.arange(0, rows[-1][1] + 1920, 1920):
        inside = [row for row in rows if bar <= row[0] < bar + 1920]
        for index, (start, end, pitch) in enumerate(inside):
            position = np.argmin(abs(np.linspace(bar, bar + 1920, 16, endpoint=False) - start))
            duration = np.argmin(abs(np.arange(60, 3841, 60) - (end - start)))
            ids.append([int(index > 0), int(position), pitch - 22, int(duration)])
    return ids


@given(st.lists(st.tuples(st.integers(0, 9599), st.integers(1, 5000), st.integers(22, 107)), min_size=1, max_size=40))
def test_equals_the_authors_loops_on_any_window_they_accept(rows: list[tuple[int, int, int]]) -> None:
    performance = notes(*sorted((start, start + length, pitch) for start, length, pitch in rows))
    if performance.onset_s.max() == 0:
        return
    assert tokenize(performance, 10.0).ids.tolist() == by_the_authors_loops(performance)
