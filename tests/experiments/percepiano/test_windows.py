import io

import numpy as np
import pytest
from rich.console import Console

from keybed.experiments.percepiano.windows import encode, starts
from keybed.extract.encoders import build, describe
from keybed.extract.music.performance import Performance

QUIET = Console(quiet=True)


def held_chord() -> Performance:
    """Eight notes in two seconds, the last of them held for half a minute."""
    onset = np.arange(8) * 0.25
    offset = onset + 0.2
    offset[-1] = 30.0
    return Performance(
        onset,
        offset,
        np.arange(60, 68, dtype=np.int16),
        np.full(8, 64, np.int16),
        np.zeros(0),
        np.zeros(0, np.int16),
    )


def test_windows_in_which_nothing_begins_are_left_out_and_each_encoder_is_kept_by_itself(tmp_path) -> None:
    performance = held_chord()
    assert len(starts(performance, 10.0, 6.2)) > 2
    names = ("placeholder-audio", "midibert")
    encoders = [
        build(*describe(n, weights="random:tiny" if n == "midibert" else None, n_bins=4, window_s=10.0)) for n in names
    ]
    settings = {"window_s": 10.0, "hop_s": 6.2, "cache": tmp_path, "console": QUIET}
    windows = encode([performance, performance], encoders[:1], None, **settings)
    assert windows.item.tolist() == [0, 1]
    (first,) = tmp_path.glob("windows-*.npz")
    made = first.stat().st_mtime_ns
    both = encode([performance, performance], encoders, None, **settings)  # midibert refuses a window without notes
    assert first.stat().st_mtime_ns == made
    assert set(both.frames) == set(names)
    assert np.array_equal(both.frames["placeholder-audio"], windows.frames["placeholder-audio"])


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "other arrays"])
def test_a_damaged_file_of_the_cache_is_named_and_made_again(damage, tmp_path) -> None:
    encoders = [build(*describe("placeholder-audio", n_bins=4, window_s=10.0))]
    told = Console(file=io.StringIO(), width=1000)
    settings = {"window_s": 10.0, "hop_s": 6.2, "cache": tmp_path, "console": told}
    first = encode([held_chord()], encoders, None, **settings)
    (path,) = tmp_path.glob("windows-*.npz")
    sound = path.read_bytes()
    if damage == "other arrays":
        np.savez(path, item=np.arange(2))
    else:
        middle = len(sound) // 2
        flipped = sound[:middle] + bytes([sound[middle] ^ 1]) + sound[middle + 1 :]
        path.write_bytes({"cut": sound[:-200], "empty": b"", "flipped": flipped}[damage])
    again = encode([held_chord()], encoders, None, **settings)
    assert np.array_equal(again.frames["placeholder-audio"], first.frames["placeholder-audio"])
    assert np.array_equal(np.load(path)["frames"], first.frames["placeholder-audio"])
    named = "lacks the arrays frames, layers, mask" if damage == "other arrays" else "is damaged"
    assert f"{path} {named}" in told.file.getvalue()
    assert told.file.getvalue().rstrip().endswith("; its windows are rendered and encoded again")
