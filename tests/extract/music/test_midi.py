from __future__ import annotations

from pathlib import Path

import mido
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keybed.extract.music.midi import MidiError, read_midi
from keybed.extract.music.performance import Performance
from tests.extract.playability import problems

T = mido.MetaMessage


def write(path: Path, *tracks: list, ticks: int = 480, kind: int = 1) -> Path:
    file = mido.MidiFile(type=kind, ticks_per_beat=ticks)
    for messages in tracks:
        track = mido.MidiTrack(messages)
        file.tracks.append(track)
    file.save(path)
    return path


def on(note: int, time: int = 0, velocity: int = 80, channel: int = 0) -> mido.Message:
    return mido.Message("note_on", note=note, velocity=velocity, time=time, channel=channel)


def off(note: int, time: int = 0, channel: int = 0) -> mido.Message:
    return mido.Message("note_off", note=note, time=time, channel=channel)


def rows(p: Performance) -> list[tuple]:
    return list(zip(p.onset_s.round(6), p.offset_s.round(6), p.pitch.tolist(), p.velocity.tolist(), strict=True))


def test_tracks_are_merged_and_tempo_changes_of_any_track_hold_for_all(tmp_path: Path) -> None:
    tempo = [T("set_tempo", tempo=500_000), T("set_tempo", tempo=1_000_000, time=480), T("end_of_track")]
    right = [on(72), off(72, 480), on(74), off(74, 480)]
    left = [on(48, 240), off(48, 480)]
    p = read_midi(write(tmp_path / "a.mid", tempo, right, left))
    # One beat at 120 bpm is half a second, the next at 60 bpm a whole one.
    assert rows(p) == [(0.0, 0.5, 72, 80), (0.25, 1.0, 48, 80), (0.5, 1.5, 74, 80)]


def test_drums_other_instruments_and_keys_a_piano_lacks_are_left_out(tmp_path: Path) -> None:
    track = [
        mido.Message("program_change", program=40, channel=1),
        mido.Message("program_change", program=1, channel=2),
        on(40, channel=9),
        on(60, channel=1),
        on(62, channel=2),
        on(20),
        on(109),
        *(off(k, 480 * (i == 0), c) for i, (k, c) in enumerate([(40, 9), (60, 1), (62, 2), (20, 0), (109, 0)])),
    ]
    assert rows(read_midi(write(tmp_path / "a.mid", track))) == [(0.0, 0.5, 62, 80)]


def test_same_pitch_overlaps_are_cut_and_zero_lengths_dropped(tmp_path: Path) -> None:
    track = [on(60), on(60, 480, velocity=50), off(60, 480), on(64), off(64, 0), on(65, 0), on(65, 480, 0)]
    p = read_midi(write(tmp_path / "a.mid", track))
    assert rows(p) == [(0.0, 0.5, 60, 80), (0.5, 1.0, 60, 50), (1.0, 1.5, 65, 80)]


def test_a_key_held_by_two_tracks_is_released_with_the_second(tmp_path: Path) -> None:
    p = read_midi(write(tmp_path / "a.mid", [on(60), off(60, 960)], [on(60, 240), off(60, 240)]))
    assert rows(p) == [(0.0, 0.25, 60, 80), (0.25, 1.0, 60, 80)]


def test_a_note_never_released_ends_with_the_file(tmp_path: Path) -> None:
    p = read_midi(write(tmp_path / "a.mid", [on(60), T("end_of_track", time=1920)]))
    assert rows(p) == [(0.0, 2.0, 60, 80)]


def test_continuous_pedal_is_kept_value_by_value(tmp_path: Path) -> None:
    foot = [mido.Message("control_change", control=64, value=v, time=48) for v in (10, 70, 127, 40)]
    p = read_midi(write(tmp_path / "a.mid", [*foot, on(60), off(60, 480)]))
    assert p.pedal_value.tolist() == [10, 70, 127, 40]
    np.testing.assert_allclose(p.pedal_s, [0.05, 0.1, 0.15, 0.2])


HEAD = b"MThd\0\0\0\6\0\1\0\1\1\xe0"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"not midi", "not a MIDI file"),
        (HEAD[:9], "cut short"),
        (HEAD, "cut short"),
        (HEAD + b"MTrk\0\0\0\x40\0\x90", "cut short"),
        (HEAD + b"RIFF\0\0\0\x04\0\xff\x2f\0", "a damaged MIDI file"),
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


def test_real_files_agree_with_pretty_midi(shared_data: Path) -> None:
    import pretty_midi

    for path in sorted(shared_data.glob("maestro-mini/*/*.midi"))[::45]:
        p, other = read_midi(path), pretty_midi.PrettyMIDI(str(path)).instruments[0]
        assert list(problems(p)) == []
        theirs = sorted((n.start, n.pitch, n.velocity) for n in other.notes)
        ours = list(zip(p.onset_s, p.pitch, p.velocity, strict=True))
        assert len(ours) == len(theirs)
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
        ends = sorted((n.start, n.pitch, n.end) for n in other.notes)
        np.testing.assert_allclose(p.offset_s, [end for _, _, end in ends], atol=1e-6)


def test_a_repeated_note_survives_either_order_of_its_note_off_and_note_on(tmp_path: Path) -> None:
    want = [(0.0, 0.5, 60, 80), (0.5, 1.0, 60, 80)]
    assert rows(read_midi(write(tmp_path / "a.mid", [on(60), off(60, 480), on(60), off(60, 480)]))) == want
    assert rows(read_midi(write(tmp_path / "b.mid", [on(60), on(60, 480), off(60), off(60, 480)]))) == want


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
