import io

import numpy as np
import pytest
from rich.console import Console

from keybed.experiments.percepiano import windows as windows_module
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


def test_encoding_goes_on_where_it_was_stopped(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(windows_module, "_BATCH_WINDOWS", 2)
    encoder = build(*describe("placeholder-audio", n_bins=4, window_s=10.0))
    encode_clips, sizes = encoder.encode, []

    def encode_twice_then_stop(clips):
        if len(sizes) == 2:
            raise KeyboardInterrupt
        sizes.append(len(clips))
        return encode_clips(clips)

    settings = {"window_s": 10.0, "hop_s": 6.2, "console": QUIET}
    performances = [held_chord()] * 7
    monkeypatch.setattr(encoder, "encode", encode_twice_then_stop)
    with pytest.raises(KeyboardInterrupt):
        encode(performances, [encoder], None, cache=tmp_path, **settings)
    assert not list(tmp_path.glob("windows-*.npz"))
    first, _ = sorted(tmp_path.glob("windows-*/batch-*.npz"))
    first.write_bytes(first.read_bytes()[:-100])  # and one of the two batches is damaged
    made = []
    monkeypatch.setattr(encoder, "encode", lambda clips: made.append(len(clips)) or encode_clips(clips))
    resumed = encode(performances, [encoder], None, cache=tmp_path, **settings)
    assert (sizes, made) == ([2, 2], [2, 2, 1])
    assert [path.suffix for path in tmp_path.iterdir()] == [".npz"]
    monkeypatch.undo()
    whole = encode(performances, [encoder], None, cache=tmp_path / "whole", **settings)
    assert resumed.item.tolist() == whole.item.tolist() == list(range(7))
    np.testing.assert_array_equal(resumed.frames["placeholder-audio"], whole.frames["placeholder-audio"])
