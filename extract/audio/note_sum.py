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
    released: list[int | None] = []
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
            released.append(None)
    return [Voice(*note, end) for note, end in zip(struck, released, strict=True)]


def sum_of_notes(voices: Sequence[Voice], bank: NoteBank, n_samples: int, first: int = 0) -> NDArray[np.float32]:
    """The sum of all voices from sample `first`, a multiple of a block, up to n_samples; float32 (n_samples - first,).

    Only products and sums, in a fixed order and never fused, so the bytes are the same on every processor.
    """
    blocks, before = -(-n_samples // BLOCK_SAMPLES), first // BLOCK_SAMPLES
    total = np.zeros((blocks - before) * BLOCK_SAMPLES, np.float32)
    scratch, levels = np.empty_like(total), np.empty(total.size + BLOCK_SAMPLES, np.float32)
    # Numbers of Python are handed to numpy faster than its own.
    gains, lifts, starts = bank.gain.tolist(), bank.lift.tolist(), bank.starts.tolist()
    for key, velocity, struck, released in voices:
        number, gain = key - LOWEST_PITCH, gains[velocity]
        at, until = starts[number], starts[number + 1]
        length = min((until - at) // BLOCK_SAMPLES, blocks - struck)
        held = length if released is None else min(released - struck, length)
        end = held + min(int(bank.tail[number, held]), length - held) if held < length else held
        begin = max(before - struck, 0)
        if begin >= end:
            continue
        sound = bank.samples[at + begin * BLOCK_SAMPLES : at + end * BLOCK_SAMPLES]
        played = scratch[: sound.size]
        even = max(held - begin, 0) * BLOCK_SAMPLES
        if even:
            np.multiply(sound[:even], np.float32(gain), out=played[:even])
        if even < sound.size:
            lift = lifts[number]
            edge = np.empty(end - held + 1)
            edge[0] = gain
            np.multiply.accumulate(bank.exact_falls[number, held:end], out=edge[1:])
            edge[1:] *= gain * lift[min(held // RAMP_BLOCKS, len(lift) - 1)]
            ramped = played[even:]
            _ramp(edge[max(begin - held, 0) :].astype(np.float32), levels, ramped)
            ramped *= sound[even:]
        here = total[(struck + begin - before) * BLOCK_SAMPLES :][: sound.size]
        here += played
    return total[: n_samples - first]


def _ramp(edge: NDArray[np.float32], levels: NDArray[np.float32], ramp: NDArray[np.float32]) -> None:
    """Fill `ramp` with what is linear within each block, as FluidSynth's ramps are.

    edge: at the boundaries of its blocks. levels: memory for one block more than `ramp` has.
    """
    level = levels[: edge.size * BLOCK_SAMPLES]
    level.reshape(-1, BLOCK_SAMPLES)[:] = edge[:, None]
    np.subtract(level[BLOCK_SAMPLES:], level[:-BLOCK_SAMPLES], out=ramp)
    ramp *= _WITHIN_BLOCKS[: ramp.size]
    ramp += level[:-BLOCK_SAMPLES]
