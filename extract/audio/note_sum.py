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
RELEASED = 1e-3
"""A released note ends where its ramp has fallen to this (60 dB)."""
LONGEST_RELEASE_BLOCKS = 3000
"""A release is cut off after 8 s."""
_WITHIN_BLOCK = (np.arange(1, BLOCK_SAMPLES + 1) / BLOCK_SAMPLES).astype(np.float32)
_ONE = np.ones(1)


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
        start, middle = struck * BLOCK_SAMPLES, held * BLOCK_SAMPLES
        here = total[start : start + middle]
        here += np.multiply(sound[:middle], np.float32(gain), out=scratch[:middle])
        if held < length:
            number = key - LOWEST_PITCH
            edge = _ramp_edges(bank.falls[number, held : min(length, held + LONGEST_RELEASE_BLOCKS)])
            edge[1:] *= bank.lift[number, min(held // RAMP_BLOCKS, bank.lift.shape[1] - 1)]
            edge *= gain
            end = middle + (edge.size - 1) * BLOCK_SAMPLES
            here = total[start + middle : start + end]
            here += _ramped(sound[middle:end], edge.astype(np.float32))
    return total[:n_samples]


def _ramp_edges(falls: NDArray[np.float32]) -> NDArray[np.float64]:
    """Amplitude of a released note at the boundaries of its blocks, from 1 down to RELEASED."""
    edge = np.multiply.accumulate(np.concatenate([_ONE, falls]))
    return edge[: edge.size - int(np.searchsorted(edge[::-1], RELEASED)) + 1]


def _ramped(sound: NDArray[np.float32], edge: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sound times a ramp that is linear within each block, as FluidSynth's is."""
    ramp = np.multiply(np.diff(edge)[:, None], _WITHIN_BLOCK)
    ramp += edge[:-1, None]
    flat = ramp.ravel()
    flat *= sound
    return flat
