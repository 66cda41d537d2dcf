import numpy as np
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
