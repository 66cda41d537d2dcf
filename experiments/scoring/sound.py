"""The sound of a recording from one second to another, to be played: from its file, or rendered from its notes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.scoring.errors import CannotScore
from keybed.extract.audio import waveform as loudness
from keybed.extract.audio.note_bank import load_bank
from keybed.extract.audio.render import opened_soundfont, sum_performance, synthesise
from keybed.extract.audio.room import Recording
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.degrade.excerpt import PRE_ROLL_S
from keybed.extract.music.pedal import pedal_at
from keybed.extract.music.performance import Performance
from keybed.extract.run.row_maker import Instrument

_MARGIN_S = 0.25


def rendered_sound(
    performance: Performance, instrument: Instrument, room: Recording | None, start_s: float, end_s: float
) -> NDArray[np.float32]:
    """The notes as the model's renderer plays them, float32 mono at SAMPLE_RATE_HZ, at the loudness of the store's rows."""
    cut = _cut(performance, start_s, end_s)
    if instrument.bank is not None:
        sound, lead = sum_performance(cut, end_s - start_s, load_bank(instrument.bank))
    else:
        sound, lead = synthesise(cut, end_s - start_s, opened_soundfont(instrument.soundfont))
    if room is not None:
        sound = room.apply(sound, lead)
    return _at_loudness(sound[lead:])


def file_sound(path: Path, start_s: float, end_s: float) -> NDArray[np.float32]:
    """A stretch of a sound file, float32 mono at SAMPLE_RATE_HZ, at the loudness of the store's rows; silence after its end.

    Raises CannotScore where the file cannot be read.
    """
    import soundfile
    import soxr

    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            begin = min(max(round((start_s - _MARGIN_S) * rate), 0), file.frames)
            file.seek(begin)
            stop = min(round((end_s + _MARGIN_S) * rate), file.frames)
            mono = file.read(stop - begin, dtype="float32", always_2d=True).mean(axis=1)
    except (soundfile.LibsndfileError, OSError) as error:
        raise CannotScore(f"{path}: {error}") from error
    if rate != SAMPLE_RATE_HZ and mono.size:
        mono = soxr.resample(mono, rate, SAMPLE_RATE_HZ, quality="HQ")
    lead, n = round((start_s - begin / rate) * SAMPLE_RATE_HZ), round((end_s - start_s) * SAMPLE_RATE_HZ)
    sound = mono[max(lead, 0) : max(lead, 0) + n]
    return _at_loudness(np.pad(sound, (0, n - sound.size)).astype(np.float64))


def _cut(p: Performance, start_s: float, end_s: float) -> Performance:
    """The notes and pedal that sound between two times, in time from the first."""
    from_s = start_s - PRE_ROLL_S
    notes = (p.onset_s < end_s) & (p.offset_s > from_s)
    pedal = (p.pedal_s > from_s) & (p.pedal_s < end_s)
    in_force = pedal_at(p.pedal_s, p.pedal_value, np.array([from_s]))
    return replace(
        p,
        onset_s=p.onset_s[notes] - start_s,
        offset_s=p.offset_s[notes] - start_s,
        pitch=p.pitch[notes],
        velocity=p.velocity[notes],
        pedal_s=np.concatenate([[-PRE_ROLL_S], p.pedal_s[pedal] - start_s]),
        pedal_value=np.concatenate([in_force, p.pedal_value[pedal]]),
    )


def _at_loudness(sound: NDArray[np.float64]) -> NDArray[np.float32]:
    rms, peak = float(np.sqrt(np.mean(sound**2))), float(np.abs(sound).max(initial=0.0))
    if rms == 0 or not np.isfinite(rms):
        return np.zeros(sound.shape, np.float32)
    gain = min(10 ** (loudness.TARGET_RMS_DBFS / 20) / rms, 10 ** (loudness.PEAK_CEILING_DBFS / 20) / peak)
    return (sound * gain).astype(np.float32)
