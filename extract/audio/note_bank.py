"""The note bank: each of the 88 keys rendered once by FluidSynth, as one file that all renderers of a machine map into memory.

A key's sound is that of a note held for the whole length, at REFERENCE_VELOCITY, mono at 24 kHz. Another velocity is a
gain. A release multiplies the sound by a falling ramp: `lift` times the product of `falls` since the release. All of them are
measured on FluidSynth's output; nothing is read from the soundfont. A file holds six .npy arrays one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.extract.audio.fluidsynth import BLOCK_SAMPLES, Soundfont, Synth
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.music.performance import HIGHEST_PITCH, LOWEST_PITCH
from keybed.store.disk.durable import replace_file
from keybed.store.errors import KeybedError

VERSION = 2
"""Raise it whenever the same soundfont and synthesiser would give another bank."""
REFERENCE_VELOCITY = 100
MIN_NOTE_BLOCKS = 4
"""FluidSynth holds every note for 10 ms (its setting synth.min-note-length); a release before that waits."""

RELEASED_DB = 60.0
"""A released note ends where its ramp has fallen this far."""
LONGEST_RELEASE_BLOCKS = 3000
"""A release is cut off after 8 s."""
KEYS = range(LOWEST_PITCH, HIGHEST_PITCH + 1)
_GAIN_KEY, _GAIN_BLOCKS = 60, 16
RAMP_BLOCKS, _RAMP_STEPS = 376, 4
"""FluidSynth's release ends after 96 dB, here 392 blocks. Ramps from several releases are joined into one curve."""
_MEASURED_DB, _LIFT_BLOCKS = 75.0, 20
_SMOOTH_BLOCKS = 15
"""FluidSynth's amplitudes have steps of 0.1 dB; a running mean over so many blocks smooths them."""


class BadNoteBank(KeybedError):
    """A note bank's file is damaged or belongs to another store; the message says what to do."""


@dataclass(frozen=True, eq=False)
class NoteBank:
    """samples: float32, all keys one after the other. starts: int64 (89,), where each key begins in `samples`.

    gain: float64 (128,), by velocity, relative to REFERENCE_VELOCITY. falls: float32 (88, blocks), at most 1: by how much a
    released note falls within each block after its strike. lift: float64 (88, 4), correction of a release in each second
    (RAMP_BLOCKS) after the strike, the last for all later: FluidSynth rounds amplitudes up to steps of 0.1 dB, which a held
    note's constant envelope does not show. tail: int16 (88, blocks), how many blocks a note released at each block takes to
    fall to RELEASED, 8 s at most.
    """

    samples: NDArray[np.float32]
    starts: NDArray[np.int64]
    gain: NDArray[np.float64]
    falls: NDArray[np.float32]
    lift: NDArray[np.float64]
    tail: NDArray[np.int16]

    @cached_property
    def exact_falls(self) -> NDArray[np.float64]:
        """`falls` in the type that their products are computed in."""
        return self.falls.astype(np.float64)

    def key(self, key: int) -> NDArray[np.float32]:
        """The sound of one MIDI key, float32, whole blocks; shorter than the bank where it dies away before."""
        number = key - LOWEST_PITCH
        return self.samples[self.starts[number] : self.starts[number + 1]]


def make_bank(soundfont: Soundfont, n_samples: int) -> NoteBank:
    """Render and measure every key for rows of `n_samples` with their pre-roll."""
    blocks = -(-n_samples // BLOCK_SAMPLES)
    sounds = [_trimmed(held_note(soundfont, key, REFERENCE_VELOCITY, blocks)) for key in KEYS]
    starts = np.cumsum([0, *(sound.size for sound in sounds)])
    ramps = [_ramp_db(soundfont, key, sound, blocks) for key, sound in zip(KEYS, sounds, strict=True)]
    decay = np.stack([decay for decay, _ in ramps])
    falls = 10 ** (-np.diff(decay, axis=1) / 20)
    lift = 10 ** (np.stack([lift for _, lift in ramps]) / 20)
    return NoteBank(np.concatenate(sounds), starts, _gains(soundfont), falls.astype(np.float32), lift, _tails(decay))


def save_bank(bank: NoteBank, path: Path) -> None:
    """Write a bank; a crash leaves the whole file or none. Raises OSError."""
    with replace_file(path) as file:
        for array in (bank.gain, bank.starts, bank.falls, bank.lift, bank.tail, bank.samples):
            np.save(file, array, allow_pickle=False)


def load_bank(path: Path) -> NoteBank:
    """The bank in a file, its samples mapped into memory. Raises BadNoteBank where the file is absent, cut short or no bank."""
    try:
        with path.open("rb") as file:
            gain, starts, falls, lift, tail = (np.load(file, allow_pickle=False) for _ in range(5))
            version = np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            if version != (1, 0) or dtype != np.float32 or shape != (int(starts[-1]),):
                raise ValueError("its samples have another type or number than its keys need")
            samples = np.memmap(file, np.float32, "r", file.tell(), shape)
    except (OSError, ValueError, EOFError, IndexError) as error:
        raise BadNoteBank(f"{path} is not a whole note bank ({error}); remove it: it is made again") from error
    return NoteBank(np.asarray(samples), starts, gain, falls, lift, tail)


def held_note(
    soundfont: Soundfont, key: int, velocity: int, blocks: int, released_at: int | None = None
) -> NDArray[np.float32]:
    """One note, float32 (blocks * 64,): the mean of both channels; held unless it is released at a block."""
    n = blocks * BLOCK_SAMPLES
    with Synth(soundfont, SAMPLE_RATE_HZ, n) as synth:
        synth.strike(key, velocity)
        if released_at is not None:
            synth.play_until(released_at * BLOCK_SAMPLES)
            synth.release(key)
        synth.play_until(n)
        return synth.mono().astype(np.float32)


def _trimmed(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without the blocks of silence at the end; at least one block is left."""
    last = int(np.flatnonzero(sound)[-1]) if sound.any() else 0
    return sound[: (last // BLOCK_SAMPLES + 1) * BLOCK_SAMPLES]


def _gains(soundfont: Soundfont) -> NDArray[np.float64]:
    """Gain of each velocity over REFERENCE_VELOCITY; 0 for velocity 0."""
    key = _GAIN_KEY if held_note(soundfont, _GAIN_KEY, REFERENCE_VELOCITY, _GAIN_BLOCKS).any() else _loudest(soundfont)
    reference = held_note(soundfont, key, REFERENCE_VELOCITY, _GAIN_BLOCKS).astype(np.float64)
    power = float(reference @ reference) or 1.0
    return np.array([0.0, *(held_note(soundfont, key, v, _GAIN_BLOCKS) @ reference / power for v in range(1, 128))])


def _loudest(soundfont: Soundfont) -> int:
    return max(KEYS, key=lambda key: float(np.abs(held_note(soundfont, key, REFERENCE_VELOCITY, _GAIN_BLOCKS)).max()))


def _block_rms(sound: NDArray[np.float32]) -> NDArray[np.float64]:
    blocks = sound[: sound.size // BLOCK_SAMPLES * BLOCK_SAMPLES].reshape(-1, BLOCK_SAMPLES).astype(np.float64)
    return np.sqrt((blocks**2).mean(1))


def _ramp_db(
    soundfont: Soundfont, key: int, held: NDArray[np.float32], blocks: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Release ramp of one key in dB at the boundaries of blocks, and its lift in dB.

    Measured on releases at several times, each joined to the one before.
    """
    reference = _block_rms(held)
    curve, lift = np.zeros(MIN_NOTE_BLOCKS + 1), np.zeros(_RAMP_STEPS)
    for step in range(_RAMP_STEPS):
        at = MIN_NOTE_BLOCKS + step * RAMP_BLOCKS
        end = min(at + RAMP_BLOCKS, reference.size)
        if end < at + 2 * _SMOOTH_BLOCKS:
            break
        released = _block_rms(held_note(soundfont, key, REFERENCE_VELOCITY, end, at))[at:]
        fallen = -20 * np.log10(np.maximum(released, 1e-12) / np.maximum(reference[at:end], 1e-12))
        fallen = fallen[: int(np.argmax(fallen > _MEASURED_DB)) or fallen.size]
        begun = fallen[:_LIFT_BLOCKS]
        if begun.size == _LIFT_BLOCKS:
            lift[step:] = -np.polyfit(np.arange(_LIFT_BLOCKS) + 0.5, begun, 1)[1]
        curve = np.concatenate([curve, curve[-1] + _boundaries(fallen + lift[step], end - at)])
    left = max(blocks + 1 - curve.size, 0)
    slope = (curve[-1] - curve[-1 - _SMOOTH_BLOCKS]) / _SMOOTH_BLOCKS if curve.size > _SMOOTH_BLOCKS else 1.0
    return np.concatenate([curve, curve[-1] + slope * np.arange(1, left + 1)])[: blocks + 1], lift


def _tails(decay_db: NDArray[np.float64]) -> NDArray[np.int16]:
    """Blocks from each block to the first whose ramp is RELEASED_DB lower."""
    ends = [np.searchsorted(curve, curve[:-1] + RELEASED_DB) for curve in decay_db]
    blocks = np.stack(ends) - np.arange(decay_db.shape[1] - 1)
    return np.minimum(blocks, LONGEST_RELEASE_BLOCKS).astype(np.int16)


def _boundaries(fallen_db: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Decay at the ends of n blocks from the mean decay within the first of them: smoothed, rising, extended by its last slope."""
    half = _SMOOTH_BLOCKS // 2
    slope = (fallen_db[-1] - fallen_db[0]) / max(fallen_db.size - 1, 1)
    before = fallen_db[0] - slope * np.arange(half, 0, -1)
    after = fallen_db[-1] + slope * np.arange(1, half + 1 + n - fallen_db.size + 1)
    kernel = np.full(_SMOOTH_BLOCKS, 1 / _SMOOTH_BLOCKS)
    centres = np.convolve(np.concatenate([before, fallen_db, after]), kernel, "valid")[: n + 1]
    return np.maximum.accumulate(np.maximum((centres[:-1] + centres[1:]) / 2, 0.0))
