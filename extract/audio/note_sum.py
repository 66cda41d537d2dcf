"""Render a row as the sum of its notes from a note bank: what FluidSynth's voices would play, without FluidSynth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.audio.events import PEDAL, RELEASE, Event
from keybed.extract.audio.fluidsynth import BLOCK_SAMPLES
from keybed.extract.audio.note_bank import LONGEST_RELEASE_BLOCKS, MIN_NOTE_BLOCKS, RAMP_BLOCKS, NoteBank
from keybed.extract.music.performance import LOWEST_PITCH, SUSTAIN_ON

VERSION = 1
"""Raise it whenever the same notes and bank would give another sum."""
_WITHIN_BLOCKS = np.tile((np.arange(1, BLOCK_SAMPLES + 1) / BLOCK_SAMPLES).astype(np.float32), LONGEST_RELEASE_BLOCKS)
"""How far each sample lies within its block, for the longest release: flat arrays multiply faster than a block at a time."""


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


def sum_of_notes(voices: Sequence[Voice], bank: NoteBank, n_samples: int, first: int = 0) -> NDArray[np.float32]:
    """The sum of all voices from sample `first`, a multiple of a block, up to n_samples; float32 (n_samples - first,).

    Only products and sums, in a fixed order and never fused, so the bytes are the same on every processor.
    """
    blocks, before = -(-n_samples // BLOCK_SAMPLES), first // BLOCK_SAMPLES
    total = np.zeros((blocks - before) * BLOCK_SAMPLES, np.float32)
    scratch = np.empty_like(total)
    gains, lifts = bank.gain.tolist(), bank.lift.tolist()  # numbers of Python are handed to numpy faster than its own
    for key, velocity, struck, released in voices:
        sound, gain = bank.key(key), gains[velocity]
        length = min(sound.size // BLOCK_SAMPLES, blocks - struck)
        held = length if released is None else min(released - struck, length)
        left_out = max(before - struck, 0)
        here = total[max(struck - before, 0) * BLOCK_SAMPLES :]
        if left_out < held:
            _add(here, sound[left_out * BLOCK_SAMPLES : held * BLOCK_SAMPLES], np.float32(gain), scratch)
        if held < length:
            number = key - LOWEST_PITCH
            n = min(int(bank.tail[number, held]), length - held)
            begin = max(held, left_out)
            if begin >= held + n:
                continue
            edge = np.empty(n + 1)
            edge[0] = gain
            np.multiply.accumulate(bank.falls[number, held : held + n], dtype=np.float64, out=edge[1:])
            lift = lifts[number]
            edge[1:] *= gain * lift[min(held // RAMP_BLOCKS, len(lift) - 1)]
            part = sound[begin * BLOCK_SAMPLES : (held + n) * BLOCK_SAMPLES]
            ramped = here[(begin - left_out) * BLOCK_SAMPLES :]
            _add_ramped(ramped, part, edge[begin - held :].astype(np.float32), scratch)
    return total[: n_samples - first]


def _add(
    total: NDArray[np.float32], sound: NDArray[np.float32], gain: np.float32, scratch: NDArray[np.float32]
) -> None:
    """Add a sound at the start of `total`."""
    here = total[: sound.size]
    here += np.multiply(sound, gain, out=scratch[: sound.size])


def _add_ramped(
    total: NDArray[np.float32], sound: NDArray[np.float32], edge: NDArray[np.float32], scratch: NDArray[np.float32]
) -> None:
    """Add a sound at the start of `total`, times a ramp that is linear within each block, as FluidSynth's is.

    edge: the ramp at the boundaries of the sound's blocks.
    """
    level = np.repeat(edge, BLOCK_SAMPLES)
    ramp = np.subtract(level[BLOCK_SAMPLES:], level[:-BLOCK_SAMPLES], out=scratch[: sound.size])
    ramp *= _WITHIN_BLOCKS[: sound.size]
    ramp += level[:-BLOCK_SAMPLES]
    ramp *= sound
    here = total[: sound.size]
    here += ramp
