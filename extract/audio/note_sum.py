"""Render a row as the sum of its notes from a note bank: what FluidSynth's voices would play, without FluidSynth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.audio.events import PEDAL, RELEASE, Event
from keybed.extract.audio.fluidsynth import BLOCK_SAMPLES
from keybed.extract.audio.note_bank import LONGEST_RELEASE_BLOCKS, MIN_NOTE_BLOCKS, RAMP_BLOCKS, NoteBank
from keybed.extract.music.performance import LOWEST_PITCH, SUSTAIN_ON

VERSION = 1
"""Raise it whenever the same notes and bank would give another sum."""
KERNEL = "keybed.extract.audio.note_kernel"
"""The module of the compiled loops; where numba is not installed it cannot be imported, and NumPy sums, with the same bytes."""
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


def voice_table(events: NDArray[np.int64]) -> NDArray[np.int64]:
    """`voices_of` the events of `event_table` as int64 (voices, 4), a column per field; -1 where no release comes."""
    return _as_table(voices_of([Event._make(event) for event in events.tolist()]))


def _as_table(voices: Sequence[Voice]) -> NDArray[np.int64]:
    rows = [(key, velocity, struck, -1 if end is None else end) for key, velocity, struck, end in voices]
    return np.array(rows, np.int64).reshape(-1, 4)


def sum_of_notes(voices: Sequence[Voice], bank: NoteBank, n_samples: int, first: int = 0) -> NDArray[np.float32]:
    """The sum of all voices from sample `first`, a multiple of a block, up to n_samples; float32 (n_samples - first,).

    Only products and sums, in a fixed order and never fused, so the bytes are the same on every processor.
    """
    return _sum(_as_table(voices), bank, n_samples, first)


def sum_of_events(events: NDArray[np.int64], bank: NoteBank, n_samples: int, first: int = 0) -> NDArray[np.float32]:
    """`sum_of_notes` of what the events of `event_table` strike."""
    return _sum(_loops.voice_table(events), bank, n_samples, first)


def _sum(voices: NDArray[np.int64], bank: NoteBank, n_samples: int, first: int) -> NDArray[np.float32]:
    before = first // BLOCK_SAMPLES
    blocks = -(-n_samples // BLOCK_SAMPLES) - before
    total = np.zeros(blocks * BLOCK_SAMPLES, np.float32)
    if len(voices):
        places, gains = _placed(voices, bank, before, before + blocks)
        _loops.add_notes(total, bank.samples, bank.exact_falls, places, gains)
    return total[: n_samples - first]


def _placed(
    voices: NDArray[np.int64], bank: NoteBank, before: int, blocks: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """What `add_notes` takes of the voices that sound between two blocks of the row."""
    key, velocity, struck, released = voices.T
    number = key - LOWEST_PITCH
    at, until = bank.starts[number], bank.starts[number + 1]
    length = np.minimum((until - at) // BLOCK_SAMPLES, blocks - struck)
    held = np.where(released < 0, length, np.minimum(released - struck, length))
    tail = bank.tail[number, np.minimum(held, bank.tail.shape[1] - 1)]
    end = np.where(held < length, np.minimum(held + tail, length), length)
    begin = np.maximum(before - struck, 0)
    places = np.stack([number, at, begin, held, end, (struck + begin - before) * BLOCK_SAMPLES], axis=1)
    gain = bank.gain[velocity]
    lift = bank.lift[number, np.minimum(held // RAMP_BLOCKS, bank.lift.shape[1] - 1)]
    heard = begin < end
    return places[heard], np.stack([gain, gain * lift], axis=1)[heard]


def add_notes(
    total: NDArray[np.float32],
    samples: NDArray[np.float32],
    falls: NDArray[np.float64],
    places: NDArray[np.int64],
    gains: NDArray[np.float64],
) -> None:
    """Add notes to `total`, one after the other.

    samples, falls: of the bank. places: int64 (notes, 6): number of the key; its first sample in the bank; the blocks of the
    note at which it begins in the row, is released, and ends; the sample of the row at which it begins. gains: float64
    (notes, 2), of the held note and of its release.
    """
    scratch, levels = np.empty_like(total), np.empty(total.size + BLOCK_SAMPLES, np.float32)
    for (number, at, begin, held, end, into), (gain, release_gain) in zip(places.tolist(), gains.tolist(), strict=True):
        sound = samples[at + begin * BLOCK_SAMPLES : at + end * BLOCK_SAMPLES]
        played = scratch[: sound.size]
        even = max(held - begin, 0) * BLOCK_SAMPLES
        if even:
            np.multiply(sound[:even], np.float32(gain), out=played[:even])
        if even < sound.size:
            edge = np.empty(end - held + 1)
            edge[0] = gain
            np.multiply.accumulate(falls[number, held:end], out=edge[1:])
            edge[1:] *= release_gain
            ramped = played[even:]
            _ramp(edge[max(begin - held, 0) :].astype(np.float32), levels, ramped)
            ramped *= sound[even:]
        here = total[into:][: sound.size]
        here += played


def _ramp(edge: NDArray[np.float32], levels: NDArray[np.float32], ramp: NDArray[np.float32]) -> None:
    """Fill `ramp` with what is linear within each block, as FluidSynth's ramps are.

    edge: at the boundaries of its blocks. levels: memory for one block more than `ramp` has.
    """
    level = levels[: edge.size * BLOCK_SAMPLES]
    level.reshape(-1, BLOCK_SAMPLES)[:] = edge[:, None]
    np.subtract(level[BLOCK_SAMPLES:], level[:-BLOCK_SAMPLES], out=ramp)
    ramp *= _WITHIN_BLOCKS[: ramp.size]
    ramp += level[:-BLOCK_SAMPLES]


class _Loops(NamedTuple):
    voice_table: Callable[[NDArray[np.int64]], NDArray[np.int64]]
    add_notes: Callable[
        [NDArray[np.float32], NDArray[np.float32], NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]], None
    ]


_loops = _Loops(voice_table, add_notes)


def use_compiled_loops() -> bool:
    """Sum with compiled loops in this process from now on; False where numba is not installed."""
    global _loops
    try:
        from keybed.extract.audio.note_kernel import add_notes as compiled_notes
        from keybed.extract.audio.note_kernel import voice_table as compiled_table
    except ImportError:
        return False
    _loops = _Loops(compiled_table, compiled_notes)
    return True
