"""Render a row as the sum of its notes from a note bank: what FluidSynth's voices would play, without FluidSynth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.audio.events import PEDAL, RELEASE, Event
from keybed.extract.audio.fluidsynth import BLOCK_SAMPLES
from keybed.extract.audio.note_bank import MIN_NOTE_BLOCKS, RAMP_BLOCKS, NoteBank
from keybed.extract.music.performance import LOWEST_PITCH, SUSTAIN_ON

VERSION = 1
"""Raise it whenever the same notes and bank would give another sum."""
_WITHIN_BLOCK = (np.arange(1, BLOCK_SAMPLES + 1) / BLOCK_SAMPLES).astype(np.float32)


class Voice(NamedTuple):
    """One struck note. released: the block at which its release begins; None where it sounds to the end of the row."""

    key: int
    velocity: int
    struck: int
    released: int | None


def voices_of(events: Sequence[Event]) -> list[Voice]:
    """FluidSynth's voices, in the order in which they are struck.

    A key that is let go, or struck again, is released unless the pedal is down; then it is released when the pedal comes
    up. Every note lasts MIN_NOTE_BLOCKS at least.
    """
    struck: list[tuple[int, int, int]] = []
    released: dict[int, int] = {}
    held: dict[int, list[int]] = {}
    sustained: list[int] = []
    down = False

    def release(voices: list[int], block: int) -> None:
        for voice in voices:
            released[voice] = max(block, struck[voice][2] + MIN_NOTE_BLOCKS)

    for block, kind, key, value in events:
        if kind == PEDAL:
            down = value >= SUSTAIN_ON
            if not down:
                release(sustained, block)
                sustained = []
            continue
        let_go = held.pop(key, [])
        if down:
            sustained += let_go
        else:
            release(let_go, block)
        if kind != RELEASE:
            held[key] = [len(struck)]
            struck.append((key, value, block))
    return [Voice(*note, released.get(number)) for number, note in enumerate(struck)]


def sum_of_notes(voices: Sequence[Voice], bank: NoteBank, n_samples: int) -> NDArray[np.float32]:
    """The sum of all voices, float32 (n_samples,).

    Only products and sums, in a fixed order and never fused, so the bytes are the same on every processor.
    """
    blocks = -(-n_samples // BLOCK_SAMPLES)
    total = np.zeros(blocks * BLOCK_SAMPLES, np.float32)
    scratch = np.empty_like(total)
    for key, velocity, struck, released in voices:
        sound, gain = bank.key(key), bank.gain[velocity]
        length = min(sound.size // BLOCK_SAMPLES, blocks - struck)
        held = length if released is None else min(released - struck, length)
        here = total[struck * BLOCK_SAMPLES :]
        _add(here, sound, held * BLOCK_SAMPLES, np.float32(gain), scratch)
        if held < length:
            number = key - LOWEST_PITCH
            n = min(int(bank.tail[number, held]), length - held)
            edge = np.empty(n + 1)
            edge[0] = gain
            np.multiply.accumulate(bank.falls[number, held : held + n], dtype=np.float64, out=edge[1:])
            edge[1:] *= gain * bank.lift[number, min(held // RAMP_BLOCKS, bank.lift.shape[1] - 1)]
            _add_ramped(here, sound, held * BLOCK_SAMPLES, edge.astype(np.float32), scratch)
    return total[:n_samples]


def _add(
    total: NDArray[np.float32], sound: NDArray[np.float32], n: int, gain: np.float32, scratch: NDArray[np.float32]
) -> None:
    """Add the first n samples of a sound."""
    here = total[:n]
    here += np.multiply(sound[:n], gain, out=scratch[:n])


def _add_ramped(
    total: NDArray[np.float32],
    sound: NDArray[np.float32],
    start: int,
    edge: NDArray[np.float32],
    scratch: NDArray[np.float32],
) -> None:
    """Add a sound from sample `start` on, times a ramp that is linear within each block, as FluidSynth's is.

    edge: the ramp at the boundaries of blocks.
    """
    part = slice(start, start + (edge.size - 1) * BLOCK_SAMPLES)
    flat = scratch[: part.stop - start]
    ramp = flat.reshape(-1, BLOCK_SAMPLES)
    np.multiply((edge[1:] - edge[:-1])[:, None], _WITHIN_BLOCK, out=ramp)
    ramp += edge[:-1, None]
    flat *= sound[part]
    here = total[part]
    here += flat
