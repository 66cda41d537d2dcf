"""Write the sound of a whole recording beside its page, block by block, so that memory does not grow with its length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.store.disk.durable import replace_file

BLOCK_S = 120.0
OVERLAP_S = 2.0
"""Neighbouring blocks share this much: it is faded from one to the other, and brings the second to the loudness of the first."""
Sound = Callable[[float, float], NDArray[np.float32]]


def write_flac(sound: Sound, duration_s: float, path: Path) -> Path:
    """The sound from 0 to duration_s as 16-bit FLAC, mono at 24 kHz. Raises what `sound` raises, and then leaves no file."""
    import soundfile

    with (
        replace_file(path) as raw,
        soundfile.SoundFile(raw, "w", SAMPLE_RATE_HZ, 1, subtype="PCM_16", format="FLAC") as file,
    ):
        for block in blocks(sound, duration_s):
            file.write(block)
    return path


def blocks(sound: Sound, duration_s: float) -> Iterator[NDArray[np.float32]]:
    """Stretches that follow each other without a seam, together duration_s long."""
    shared = round(OVERLAP_S * SAMPLE_RATE_HZ)
    tail = np.empty(0, np.float32)
    start_s = 0.0
    while True:
        end_s = start_s + BLOCK_S + OVERLAP_S
        last = end_s >= duration_s
        block = sound(start_s, duration_s if last else end_s)
        if tail.size:
            n = min(tail.size, block.size)
            fade = np.linspace(0.0, 1.0, n, dtype=np.float32)
            block = block * _gain(tail[:n], block[:n])
            block[:n] = tail[:n] * (1 - fade) + block[:n] * fade
        if last:
            yield block
            return
        yield block[:-shared]
        tail = block[-shared:]
        start_s += BLOCK_S


def _gain(before: NDArray[np.float32], after: NDArray[np.float32]) -> np.float32:
    """What brings a stretch to the loudness that it has in the block before; 1 where either is silent."""
    was, now = (float(np.sqrt(np.mean(x.astype(np.float64) ** 2))) for x in (before, after))
    return np.float32(was / now if was > 0 and now > 0 else 1.0)
