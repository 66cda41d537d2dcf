from __future__ import annotations

import os
from pathlib import Path

import mido
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keybed.extract.music.midi import MidiError, parse_piano, read_midi
from keybed.extract.music.midi_file import LARGEST_BYTES
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


def control(number: int, value: int, time: int = 0, channel: int = 0) -> mido.Message:
    return mido.Message("control_change", control=number, value=value, time=time, channel=channel)


def program(number: int, time: int = 0, channel: int = 0) -> mido.Message:
    return mido.Message("program_change", program=number, time=time, channel=channel)


def equal(a: Performance, b: Performance) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in Performance.__dataclass_fields__)


@pytest.fixture(scope="module")
def cases(shared_data: Path) -> Path:
    folder = shared_data.parent / "cases" / "midi"
    if not folder.is_dir():
        pytest.skip("the small MIDI files that once failed are not on this machine")
    return folder


def test_a_damaged_meta_event_or_an_alien_chunk_costs_nothing_else(cases: Path) -> None:
    base = read_midi(cases / "harmless-bad-meta" / "00_base.mid")
    damaged = [path for path in sorted((cases / "harmless-bad-meta").glob("*.mid")) if path.stem != "00_base"]
    assert base.n_notes == 120
    assert len(damaged) == 7
    for path in damaged:
        assert equal(read_midi(path), base), path.name


def test_the_pedal_of_a_left_out_instrument_does_not_reach_the_piano(cases: Path) -> None:
    base = read_midi(cases / "non-piano-pedal" / "00_base.mid")
    assert equal(read_midi(cases / "non-piano-pedal" / "12_program_48_strings_pedal_down.mid"), base)


def test_the_pedal_of_a_track_of_controllers_belongs_to_the_notes_of_its_channel(tmp_path: Path) -> None:
    piano = [on(60), off(60, 480)]
    strings = [program(48, channel=1), on(67, channel=1), off(67, 480, channel=1)]
    for channel, pedal in ((0, [127]), (1, []), (2, [127])):
        controllers = [control(64, 127, 0, channel)]
        p = read_midi(write(tmp_path / "a.mid", piano, strings, controllers))
        assert p.pedal_value.tolist() == pedal, channel
        assert rows(p) == [(0.0, 0.5, 60, 80)]


@pytest.mark.parametrize("kind", range(0x60))
def test_no_meta_event_but_tempo_and_end_can_change_the_notes(tmp_path: Path, kind: int) -> None:
    track = b"\0\x90\x3c\x50\0\xff" + bytes([kind]) + b"\x01\xfe\x60\x80\x3c\0\0\xff\x2f\0"
    path = tmp_path / "meta.mid"
    path.write_bytes(HEAD + b"MTrk" + len(track).to_bytes(4) + track)
    if kind == 0x51:
        with pytest.raises(MidiError, match=r"meta\.mid: track 0: .*a tempo of 1 bytes instead of 3 at tick 0"):
            read_midi(path)
    else:
        assert rows(read_midi(path)) == [(0.0, 0.1, 60, 80)]


@pytest.mark.parametrize("number", [120, 123, 124, 125, 126, 127])
def test_all_notes_off_ends_what_its_track_and_channel_hold(tmp_path: Path, number: int) -> None:
    right = [on(72), on(74, channel=1), control(number, 0, 480), T("end_of_track", time=480)]
    p = read_midi(write(tmp_path / "a.mid", right, [on(48), off(48, 960)]))
    assert rows(p) == [(0.0, 1.0, 48, 80), (0.0, 0.5, 72, 80), (0.0, 1.0, 74, 80)]


def test_all_notes_off_spares_a_note_that_is_struck_at_its_time(tmp_path: Path) -> None:
    p = read_midi(write(tmp_path / "a.mid", [on(60), on(64, 480), control(123, 0), off(64, 480), off(60)]))
    assert rows(p) == [(0.0, 0.5, 60, 80), (0.5, 1.0, 64, 80)]


def test_all_notes_off_in_a_real_file_ends_the_note_that_nothing_else_releases(cases: Path) -> None:
    p = read_midi(cases / "all-notes-off" / "29_all_notes_off_cc123.mid")
    (hanging,) = np.flatnonzero(p.pitch == 90)
    assert p.offset_s[hanging] - p.onset_s[hanging] == pytest.approx(0.5, abs=1e-9)
    assert p.n_notes == 121


def test_a_channel_that_leaves_the_piano_takes_its_pedal_along_and_releases_its_keys(tmp_path: Path) -> None:
    track = [
        control(64, 127),
        on(60),
        program(48, 480),
        on(67),
        off(60, 480),
        off(67),
        program(0),
        on(62),
        off(62, 480),
    ]
    reading = parse_piano(write(tmp_path / "a.mid", track).read_bytes(), "a.mid")
    assert rows(reading.performance) == [(0.0, 1.0, 60, 80), (1.0, 1.5, 62, 80)]
    assert reading.performance.pedal_value.tolist() == [127, 0]
    np.testing.assert_allclose(reading.performance.pedal_s, [0.0, 0.5])
    assert reading.left_out == {"of other instruments": 1}


def test_reset_all_controllers_lifts_the_pedal(tmp_path: Path) -> None:
    p = read_midi(write(tmp_path / "a.mid", [control(121, 0), control(64, 100), on(60), off(60, 480), control(121, 0)]))
    assert p.pedal_value.tolist() == [100, 0]


def test_left_out_notes_are_counted_by_reason(cases: Path, tmp_path: Path) -> None:
    path = cases / "channel10-hand" / "44_channel10_second_hand.mid"
    reading = parse_piano(path.read_bytes(), path)
    assert reading.performance.n_notes == 120
    assert reading.left_out_in_words() == "60 of 180 notes are left out: 60 on channel 10 (drums)"
    track = [on(60), on(20), on(109), off(60, 480), off(20), off(109)]
    outside = parse_piano(write(tmp_path / "a.mid", track).read_bytes(), "a.mid")
    assert outside.left_out_in_words() == "2 of 3 notes are left out: 2 outside the piano's keys 21 to 108"
    whole = parse_piano(write(tmp_path / "b.mid", [on(60), off(60, 480)]).read_bytes(), "b.mid")
    assert whole.left_out_in_words() == ""


def test_a_tempo_of_0_names_itself(tmp_path: Path) -> None:
    track = [on(60), T("set_tempo", tempo=0, time=240), off(60, 240)]
    with pytest.raises(MidiError, match=r"zero\.mid: a tempo of 0 microseconds per beat at tick 240"):
        read_midi(write(tmp_path / "zero.mid", track))
    # A tempo that the next event of the same tick replaces has no effect.
    replaced = [T("set_tempo", tempo=0), T("set_tempo", tempo=500_000), on(60), off(60, 480)]
    assert rows(read_midi(write(tmp_path / "a.mid", replaced))) == [(0.0, 0.5, 60, 80)]


def test_what_follows_the_end_of_a_track_is_read_where_it_is_music_and_dropped_where_not(tmp_path: Path) -> None:
    path = tmp_path / "a.mid"
    music = b"\0\x90\x3c\x50\x60\x80\x3c\0\0\xff\x2f\0"
    for after, n_notes in ((b"\0\x90\x3e\x50\x60\x80\x3e\0", 2), (b"\0\xf5\0\0", 1), (b"\x05", 1)):
        track = music + after
        path.write_bytes(HEAD + b"MTrk" + len(track).to_bytes(4) + track)
        assert read_midi(path).n_notes == n_notes


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
