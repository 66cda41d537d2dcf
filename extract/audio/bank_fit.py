"""Whether a note bank can play a soundfont: where velocity is loudness alone and notes do not depend on each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.extract.audio.fluidsynth import BLOCK_SAMPLES, Soundfont
from keybed.extract.audio.note_bank import KEYS, NoteBank, held_note
from keybed.extract.audio.render import sum_performance, synthesise
from keybed.extract.music.performance import Performance, playable

VELOCITIES = (20, 64, 120)
NOTE_BLOCKS = 60
LARGEST_VELOCITY_ERROR = 0.02
"""Relative rms error of a note scaled from another velocity (−34 dB)."""
LARGEST_PASSAGE_ERROR = 0.03
"""Relative rms error of a passage (−30 dB). The default soundfont has 0.008, most of it because FluidSynth's voices keep state from note to note."""
_PASSAGE_S, _PASSAGE_NOTES, _PASSAGE_PEDALS = 6.0, 90, 8


def misfit(bank: NoteBank, soundfont: Soundfont) -> str | None:
    """Why rows of this soundfont must be rendered by FluidSynth itself, in words; None where the bank plays them."""
    for key in KEYS:
        for velocity in VELOCITIES if key % 3 == 0 else VELOCITIES[:1]:
            error = _relative_error(
                bank.key(key)[: NOTE_BLOCKS * BLOCK_SAMPLES] * bank.gain[velocity],
                held_note(soundfont, key, velocity, NOTE_BLOCKS),
            )
            if error > LARGEST_VELOCITY_ERROR:
                return (
                    f"key {key} at velocity {velocity} is no louder or softer copy of the same key ({error:.0%} off): "
                    "the soundfont has velocity layers or filters"
                )
    passage = _passage()
    error = _relative_error(
        sum_performance(passage, _PASSAGE_S, bank)[0], synthesise(passage, _PASSAGE_S, soundfont)[0]
    )
    if error > LARGEST_PASSAGE_ERROR:
        return f"the sum of a passage's notes is {error:.0%} off FluidSynth's own: its notes depend on each other"
    return None


def _relative_error(sound: NDArray[np.floating], expected: NDArray[np.floating]) -> float:
    sound = np.pad(sound, (0, max(expected.size - sound.size, 0)))[: expected.size]
    norm = float(np.linalg.norm(expected))
    off = float(np.linalg.norm(sound - expected))
    return off / norm if norm else float(off > 0)


def _passage() -> Performance:
    """Random notes with pedal, short and long, some struck again while they sound."""
    rng = np.random.default_rng(0)
    onset_s = rng.uniform(-1.0, _PASSAGE_S, _PASSAGE_NOTES)
    return playable(
        onset_s,
        onset_s + rng.exponential(0.5, _PASSAGE_NOTES) + 0.003,
        rng.integers(KEYS.start, KEYS.stop, _PASSAGE_NOTES),
        rng.integers(20, 120, _PASSAGE_NOTES),
        np.sort(rng.uniform(-1.0, _PASSAGE_S, _PASSAGE_PEDALS)),
        np.tile([100, 0], _PASSAGE_PEDALS // 2),
    )
