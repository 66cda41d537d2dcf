"""Notes files, sound and damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from keybed.extract.music.midi import MidiError
from keybed.extract.music.notes_file import load_notes, midi_sha256, save_notes
from keybed.extract.music.performance import Performance, playable


def test_saved_notes_come_back_and_repeat_to_the_byte(tmp_path: Path) -> None:
    p = playable(*(np.array(x) for x in ([0.0, 0.5], [0.4, 1.0], [60, 62], [70, 71], [0.1], [127])))
    for name in ("a.npz", "b.npz"):
        save_notes(tmp_path / name, p, "ab" * 32)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    back = load_notes(tmp_path / "a.npz")
    for name in Performance.__dataclass_fields__:
        got, want = getattr(back, name), getattr(p, name)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)
    assert midi_sha256(tmp_path / "a.npz") == "ab" * 32


def test_a_damaged_notes_file_is_a_named_error(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    save_notes(path, playable(*(np.array(x) for x in ([0.0], [0.4], [60], [70], [0.1], [127]))), "ab" * 32)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(MidiError, match=r"a\.npz: damaged"):
        load_notes(path)
