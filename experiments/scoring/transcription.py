"""The notes of a sound file without a MIDI file, by Transkun, for recordings of any length in little memory."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.scoring.errors import CannotScore
from keybed.experiments.scoring.source import sound_duration_s
from keybed.extract.encoders.errors import WeightsUnreachable
from keybed.extract.music.performance import Performance, playable
from keybed.store.command import command

if TYPE_CHECKING:
    import soundfile

    from keybed.extract.encoders.transkun.transcribe import Transcriber

STRETCH_S = 300.0
"""Transcribed at once; half a minute on either side of it is heard as well."""
CONTEXT_S = 30.0


def transcribe_file(path: Path) -> Performance:
    """The notes and pedal of a sound file. Raises CannotScore where the file cannot be read or Transkun's weights are not here."""
    import soundfile

    duration_s = sound_duration_s(path)
    transcribe = _transcriber(path)
    parts: list[Performance] = []
    with soundfile.SoundFile(path) as file:
        for start_s in np.arange(0.0, duration_s, STRETCH_S):
            end_s = min(start_s + STRETCH_S, duration_s)
            begin_s = max(start_s - CONTEXT_S, 0.0)
            mono = _read(file, begin_s, min(end_s + CONTEXT_S, duration_s))
            heard = transcribe(mono, file.samplerate)
            parts.append(_between(heard, begin_s, start_s, np.inf if end_s == duration_s else end_s))
    columns = {name: np.concatenate([getattr(p, name) for p in parts]) for name in Performance.__dataclass_fields__}
    return playable(**columns)


@cache
def _loaded() -> Transcriber:
    from keybed.extract.encoders.transkun.transcribe import Transcriber

    return Transcriber()


def _transcriber(path: Path) -> Transcriber:
    try:
        return _loaded()
    except WeightsUnreachable as error:
        raise CannotScore(
            f"{path}: there is no MIDI file of the same name beside it, and the transcriber's weights are not on this machine: "
            f"`{command('fetch', 'transkun')}` brings them"
        ) from error


def _read(file: soundfile.SoundFile, start_s: float, end_s: float) -> NDArray[np.float32]:
    rate = file.samplerate
    file.seek(round(start_s * rate))
    samples = file.read(round((end_s - start_s) * rate), dtype="float32", always_2d=True)
    return np.asarray(samples.mean(axis=1), np.float32)


def _between(p: Performance, begin_s: float, start_s: float, end_s: float) -> Performance:
    """Notes and pedal events that begin between two times, in time from the start of the file. begin_s: where `p` begins."""
    onset_s, pedal_s = p.onset_s + begin_s, p.pedal_s + begin_s
    notes, pedal = (onset_s >= start_s) & (onset_s < end_s), (pedal_s >= start_s) & (pedal_s < end_s)
    return Performance(
        onset_s[notes],
        p.offset_s[notes] + begin_s,
        p.pitch[notes],
        p.velocity[notes],
        pedal_s[pedal],
        p.pedal_value[pedal],
    )
