"""The sum of a note bank's notes against FluidSynth, which plays the same events."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keybed.extract.audio import bank_files, note_sum
from keybed.extract.audio.bank_files import BankFile, bank_for, bank_sha256, find_bank
from keybed.extract.audio.bank_fit import misfit
from keybed.extract.audio.events import PEDAL, RELEASE, STRIKE, Event
from keybed.extract.audio.fluidsynth import BLOCK_SAMPLES, Synth
from keybed.extract.audio.note_bank import BadNoteBank, NoteBank, load_bank, make_bank
from keybed.extract.audio.note_sum import Voice, sum_of_notes, voices_of
from keybed.extract.audio.render import default_soundfont, opened_soundfont, sum_performance, synthesise
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.degrade import draw_levels, make_variant, prepare
from keybed.extract.music.midi import read_midi
from tests.extract.audio.soundfonts import Zone, write_soundfont

N = 72_000
PLAIN = note_sum._loops


@pytest.fixture(scope="module")
def bank_file() -> BankFile:
    return bank_for(default_soundfont(), 10.0)


@pytest.fixture(scope="module")
def bank(bank_file: BankFile) -> NoteBank:
    return load_bank(bank_file.path)


def played(events: list[Event], n: int = N) -> np.ndarray:
    with Synth(opened_soundfont(None), SAMPLE_RATE_HZ, n) as synth:
        for block, kind, key, value in events:
            synth.play_until(block * BLOCK_SAMPLES)
            if kind == STRIKE:
                synth.strike(key, value)
            elif kind == RELEASE:
                synth.release(key)
            else:
                synth.pedal(value)
        synth.play_until(n)
        return synth.mono()


def off_db(sound: np.ndarray, expected: np.ndarray) -> float:
    return float(20 * np.log10(np.linalg.norm(sound - expected) / np.linalg.norm(expected) + 1e-12))


@pytest.mark.parametrize("velocity", [1, 37, 100, 127])
def test_a_held_note_is_fluidsynths_at_every_velocity_and_start(bank: NoteBank, velocity: int) -> None:
    for key in (21, 60, 108):
        events = [Event(100, STRIKE, key, velocity)]
        n = 18_400  # FluidSynth stops a voice where it is below its noise floor: soft high notes after a second
        assert off_db(sum_of_notes(voices_of(events), bank, n), played(events, n)) < -120


def test_a_released_note_falls_as_fluidsynths_does(bank: NoteBank) -> None:
    for key in (28, 60, 84, 104):
        for block in (6, 150, 700):
            events = [Event(0, STRIKE, key, 90), Event(block, RELEASE, key, 0)]
            sound, expected = sum_of_notes(voices_of(events), bank, N), played(events)
            assert off_db(sound, expected) < -40
            for blocks in (20, 60, 100):
                tail = slice((block + blocks) * BLOCK_SAMPLES, (block + blocks + 10) * BLOCK_SAMPLES)
                level_db = 20 * np.log10(np.linalg.norm(sound[tail]) / np.linalg.norm(expected[tail]))
                assert abs(level_db) < 0.3


@pytest.mark.parametrize(
    "events",
    [
        [Event(0, STRIKE, 60, 90), Event(1, RELEASE, 60, 0)],
        [Event(0, STRIKE, 60, 90), Event(200, STRIKE, 60, 70)],
        [Event(0, PEDAL, 0, 127), Event(0, STRIKE, 60, 90), Event(200, STRIKE, 60, 70), Event(500, PEDAL, 0, 0)],
        [
            *(Event(0, STRIKE, 60, 90), Event(20, PEDAL, 0, 64), Event(90, RELEASE, 60, 0), Event(300, PEDAL, 0, 0)),
            *(Event(400, PEDAL, 0, 100), Event(400, STRIKE, 64, 80), Event(410, STRIKE, 64, 81)),
            *(Event(420, RELEASE, 64, 0), Event(600, PEDAL, 0, 0), Event(640, RELEASE, 64, 0)),
        ],
    ],
    ids=["shorter than FluidSynth's shortest note", "struck again", "struck again in pedal", "caught by the pedal"],
)
def test_notes_end_where_fluidsynth_ends_them(bank: NoteBank, events: list[Event]) -> None:
    assert off_db(sum_of_notes(voices_of(events), bank, N), played(events)) < -40


def test_voices_follow_the_keys_and_the_pedal() -> None:
    events = [
        *(Event(0, STRIKE, 60, 90), Event(2, RELEASE, 60, 0), Event(5, PEDAL, 0, 64), Event(6, STRIKE, 62, 50)),
        *(Event(9, RELEASE, 62, 0), Event(30, STRIKE, 62, 51), Event(40, PEDAL, 0, 63), Event(50, STRIKE, 62, 52)),
    ]
    assert voices_of(events) == [
        Voice(60, 90, 0, 4),
        Voice(62, 50, 6, 40),
        Voice(62, 51, 30, 50),
        Voice(62, 52, 50, None),
    ]


def test_a_whole_row_is_near_to_what_fluidsynth_plays(bank: NoteBank, shared_data: Path) -> None:
    """FluidSynth's voices keep filter state from earlier notes: a row is -43 to -53 dB off the sum of its own single notes."""
    off = []
    for r, path in enumerate(sorted(shared_data.glob("maestro-mini/*/*.midi"))[::47]):
        prepared = prepare(read_midi(path))
        for tier in (0, 3):
            levels = draw_levels(0, r, 31.0, tier, "mixed")
            p = make_variant(prepared, 31.0, 10.0, levels, seed=0, recording_id=r, tier=tier).performance
            off.append(off_db(sum_performance(p, 10.0, bank)[0], synthesise(p, 10.0, opened_soundfont(None))[0]))
    assert max(off) < -37
    assert np.mean(off) < -41


def test_a_sum_that_begins_later_has_the_same_samples(bank: NoteBank) -> None:
    rng = np.random.default_rng(0)
    struck = np.sort(rng.integers(0, 400, 60))
    keys, velocities, lasting = (rng.integers(*limits, 60) for limits in ((21, 109), (1, 128), (4, 300)))
    voices = [
        Voice(int(k), int(v), int(s), None if n > 280 else int(s + n))
        for k, v, s, n in zip(keys, velocities, struck, lasting, strict=True)
    ]
    whole = sum_of_notes(voices, bank, 32000)
    for block in (1, 60, 250, 499):
        assert (
            sum_of_notes(voices, bank, 32000, block * BLOCK_SAMPLES).tobytes()
            == whole[block * BLOCK_SAMPLES :].tobytes()
        )


def test_compiled_loops_give_the_bytes_of_numpy(bank: NoteBank, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    rng = np.random.default_rng(1)
    struck, lasting = np.sort(rng.integers(0, 4400, 300)), rng.integers(4, 900, 300)
    keys, velocities = rng.integers(21, 109, 300), rng.integers(1, 128, 300)
    voices = [
        Voice(int(k), int(v), int(s), None if n > 850 else int(s + n))
        for k, v, s, n in zip(keys, velocities, struck, lasting, strict=True)
    ]
    for first in (0, 750 * BLOCK_SAMPLES):
        monkeypatch.setattr(note_sum, "_loops", PLAIN)
        plain = sum_of_notes(voices, bank, 288_000, first)
        assert note_sum.use_compiled_loops()
        assert note_sum._loops != PLAIN
        assert sum_of_notes(voices, bank, 288_000, first).tobytes() == plain.tobytes()
        assert np.abs(plain).max() > 0


def test_compiled_loops_find_the_same_voices(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr(note_sum, "_loops", PLAIN)
    assert note_sum.use_compiled_loops()
    rng, n = np.random.default_rng(2), 3000
    table = np.stack([np.sort(rng.integers(0, 4000, n)), rng.integers(0, 3, n), rng.integers(60, 66, n)], axis=1)
    table = np.column_stack([table, rng.integers(1, 128, n)])
    for events in (table, table[:0]):
        found = note_sum._loops.voice_table(events)
        np.testing.assert_array_equal(found, note_sum.voice_table(events), strict=True)
    assert len(note_sum.voice_table(table)) > 900


def test_without_numba_the_loops_are_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(note_sum, "_loops", PLAIN)
    monkeypatch.setitem(sys.modules, note_sum.KERNEL, None)
    assert not note_sum.use_compiled_loops()
    assert note_sum._loops == PLAIN


_BYTES = """
import hashlib, sys, numpy as np
from keybed.extract.audio.note_bank import NoteBank
from keybed.extract.audio.note_sum import Voice, sum_of_notes, use_compiled_loops
rng = np.random.default_rng(0)
bank = NoteBank(rng.standard_normal(88 * 6400).astype(np.float32), np.arange(89) * 6400, rng.random(128), np.full((88, 100), 0.97, np.float32), np.full((88, 4), 1.001), np.full((88, 100), 70, np.int16))
voices = [Voice(int(k), int(v), int(s), int(s) + 20) for k, v, s in zip(rng.integers(21, 109, 200), rng.integers(1, 128, 200), rng.integers(0, 400, 200))]
if sys.argv[1] == "compiled":
    use_compiled_loops()
print(hashlib.sha256(sum_of_notes(voices, bank, 32000).tobytes()).hexdigest())
"""


def test_the_sums_bytes_do_not_depend_on_the_processors_instructions() -> None:
    found = set()
    newer = "X86_V4 AVX512F AVX512CD AVX512_SKX X86_V3 AVX2 FMA3"  # by numpy's newer and older names
    for loops, settings in {
        "plain": {},
        "plain, older processor": {"NPY_DISABLE_CPU_FEATURES": newer},
        "compiled": {"NUMBA_CPU_NAME": "generic"},
    }.items():
        command = [sys.executable, "-W", "ignore", "-c", _BYTES, loops]
        env = {**os.environ, **settings}
        found.add(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)
    assert len(found) == 1


@pytest.mark.parametrize(
    ("zones", "reason"),
    [
        ([Zone(velocities=(0, 63)), Zone(velocities=(64, 127), harmonic=2)], "key 21 at velocity 20 .*velocity layers"),
        (
            [Zone(keys=(0, 59)), Zone(keys=(60, 127)), Zone(keys=(69, 69), velocities=(110, 127))],
            "key 69 at velocity 120",
        ),
    ],
    ids=["layers", "a layer on one key"],
)
def test_a_soundfont_with_layers_does_not_fit_a_bank(zones: list[Zone], reason: str, tmp_path: Path) -> None:
    soundfont = opened_soundfont(write_soundfont(tmp_path / "layers.sf2", zones))
    found = misfit(make_bank(soundfont, 24_000), soundfont)
    assert found is not None
    assert re.search(reason, found)


def test_silent_keys_and_two_voices_a_key_are_summed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    zones = [Zone(keys=(40, 127), pan=-500), Zone(keys=(40, 127), pan=500, harmonic=3, release_s=0.3)]
    made = bank_for(write_soundfont(tmp_path / "two.sf2", zones), 10.0)
    assert made.misfit == ""
    bank = load_bank(made.path)
    assert not bank.key(30).any()
    assert np.abs(bank.key(50)).max() > 1e-3


def test_a_bank_cut_short_or_of_another_soundfont_is_refused(
    bank_file: BankFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = bank_file.path.read_bytes()
    short, changed = tmp_path / "short.bank", tmp_path / "changed.bank"
    short.write_bytes(whole[:-4096])
    changed.write_bytes(whole[:-1] + b"\x40")
    for file in (short, changed):
        with pytest.raises(BadNoteBank, match=rf"{file.name} is not the note bank that the store was planned with"):
            find_bank(bank_file.sha256, file, default_soundfont(), 10.0)
    with pytest.raises(BadNoteBank, match=r"short\.bank is not a whole note bank"):
        load_bank(short)
    for empty in (b"", b"hello"):
        short.write_bytes(empty)
        with pytest.raises(BadNoteBank, match=r"not a whole note bank"):
            load_bank(short)
    assert find_bank(bank_file.sha256, bank_file.path, None, 10.0) == bank_file.path
    assert find_bank(bank_file.sha256, tmp_path / "gone", default_soundfont(), 10.0) == bank_file.path
    with pytest.raises(BadNoteBank, match="--note-bank"):
        find_bank(bank_file.sha256, None, None, 10.0)
    with pytest.raises(BadNoteBank, match="makes another note bank"):
        find_bank("0" * 64, None, default_soundfont(), 10.0)


def test_a_damaged_bank_in_the_cache_is_made_again_with_the_same_bytes(
    bank_file: BankFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cached = bank_files.cache_folder() / bank_file.path.name
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"damaged")
    cached.with_suffix(".sha256").write_text(bank_file.sha256)
    again = bank_for(default_soundfont(), 10.0)
    assert again.path == cached
    assert again.sha256 == bank_file.sha256 == bank_sha256(cached)


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    with pytest.raises(BadNoteBank, match=r"cannot be written .*XDG_CACHE_HOME.*--renderer fluidsynth"):
        bank_for(default_soundfont(), 10.0)


def test_rows_of_more_than_a_minute_are_left_to_fluidsynth() -> None:
    assert "too long" in bank_for(default_soundfont(), 90.0).misfit
