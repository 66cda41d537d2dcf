"""Files of MIDI that are refused by name, and damaged ones that are read as far as they are music."""

from __future__ import annotations

import os
from pathlib import Path

import mido
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keybed.extract.music.midi import MidiError, read_midi
from keybed.extract.music.midi_file import LARGEST_BYTES
from tests.extract.music.midi_messages import HEAD, T, off, on, rows, write
from tests.extract.playability import problems


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"not midi", "not a MIDI file"),
        (HEAD[:9], "cut short"),
        (HEAD, "cut short"),
        (HEAD + b"MTrk\0\0\0\x40\0\x90", "cut short"),
        (HEAD + b"RIFF\0\0\0\x04\0\xff\x2f\0", "cut short, 0 of its 1 tracks are whole"),
        (HEAD + b"MTrk\0\0\0\x05\0\xf5\0\xff\x2f", "track 0: a damaged MIDI file .the undefined status byte 0xf5"),
        (HEAD + b"MTrk\0\0\0\x06\0\xff\x51\x02\x07\xa1", "track 0: a damaged MIDI file .a tempo of 2 bytes"),
    ],
)
def test_an_unreadable_file_is_a_named_error(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "broken.mid"
    path.write_bytes(content)
    with pytest.raises(MidiError, match=rf"broken\.mid: {reason}"):
        read_midi(path)


def test_a_file_without_piano_notes_and_one_of_several_pieces_are_named_errors(tmp_path: Path) -> None:
    with pytest.raises(MidiError, match="no piano note"):
        read_midi(write(tmp_path / "drums.mid", [on(40, channel=9), off(40, 10, channel=9)]))
    with pytest.raises(MidiError, match="type 2"):
        read_midi(write(tmp_path / "two.mid", [on(60), off(60, 9)], [on(60), off(60, 9)], kind=2))
    with pytest.raises(MidiError, match=r"absent\.mid"):
        read_midi(tmp_path / "absent.mid")


@pytest.mark.parametrize(("division", "reason"), [(b"\xe7\x28", "time code"), (b"\0\0", "a beat of 0 ticks")])
def test_a_file_whose_times_cannot_be_read_is_a_named_error(tmp_path: Path, division: bytes, reason: str) -> None:
    path = write(tmp_path / "odd.mid", [on(60), off(60, 480)])
    whole = path.read_bytes()
    path.write_bytes(whole[:12] + division + whole[14:])  # the header's last two bytes: ticks a beat, or SMPTE
    with pytest.raises(MidiError, match=rf"odd\.mid: {reason}"):
        read_midi(path)


def test_a_tempo_of_0_names_itself(tmp_path: Path) -> None:
    track = [on(60), T("set_tempo", tempo=0, time=240), off(60, 240)]
    with pytest.raises(MidiError, match=r"zero\.mid: a tempo of 0 microseconds per beat at tick 240"):
        read_midi(write(tmp_path / "zero.mid", track))
    # A tempo that the next event of the same tick replaces has no effect.
    replaced = [T("set_tempo", tempo=0), T("set_tempo", tempo=500_000), on(60), off(60, 480)]
    assert rows(read_midi(write(tmp_path / "a.mid", replaced))) == [(0.0, 0.5, 60, 80)]


def test_a_recording_of_more_than_a_day_is_refused(tmp_path: Path) -> None:
    slow = [T("set_tempo", tempo=16_777_215), on(60), off(60, 480 * 5151)]
    with pytest.raises(MidiError, match=r"long\.mid: lasts 86,\d\d\d s, longer than a day"):
        read_midi(write(tmp_path / "long.mid", slow))


def test_a_pipe_a_device_and_a_huge_file_are_refused_without_reading(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mid")
    with pytest.raises(MidiError, match=r"pipe\.mid: a named pipe, socket or device, not a file"):
        read_midi(tmp_path / "pipe.mid")
    with pytest.raises(MidiError, match="/dev/zero: a named pipe, socket or device"):
        read_midi("/dev/zero")
    with pytest.raises(MidiError, match="a folder, not a file"):
        read_midi(tmp_path)
    with (tmp_path / "huge.mid").open("wb") as file:
        file.truncate(LARGEST_BYTES + 1)
    with pytest.raises(MidiError, match="too large for a MIDI file"):
        read_midi(tmp_path / "huge.mid")


def whole_file(tmp_path: Path) -> bytes:
    foot = [mido.Message("control_change", control=64, value=v, time=20) for v in (10, 127, 40)]
    meta = [T("track_name", name="piano"), T("set_tempo", tempo=400_000), T("key_signature", key="Eb")]
    path = write(tmp_path / "whole.mid", meta, [on(60), *foot, off(60, 100), on(62), on(64, 10), off(62, 50), off(64)])
    return path.read_bytes()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_playable_or_a_named_error(tmp_path: Path, data: st.DataObject) -> None:
    damaged = bytearray(whole_file(tmp_path))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.mid"
    path.write_bytes(damaged[: data.draw(st.integers(0, len(damaged)))] if data.draw(st.booleans()) else damaged)
    try:
        broken_rules = list(problems(read_midi(path)))
    except MidiError as error:
        broken_rules = [] if "damaged.mid" in str(error) else [str(error)]
    assert broken_rules == []
