"""The notes of a sound file without a MIDI file, by Transkun, for recordings of any length: the file is read in blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.scoring.errors import CannotScore
from keybed.experiments.scoring.source import sound_duration_s
from keybed.extract.encoders.errors import WeightsUnreachable
from keybed.extract.music.performance import Performance
from keybed.extract.processes import return_freed_memory
from keybed.extract.progress import Progress, silent
from keybed.store.command import command

if TYPE_CHECKING:
    import soundfile

    from keybed.extract.encoders.transkun.transcribe import Transcriber

BLOCK_S = 10.0
"""Read at once."""
CONTEXT_S = 6.5
"""Seconds of a context on a processor without much else to do; docs/score.md."""


def transcription_seconds(duration_s: float) -> float:
    """About how long transcribing so much sound takes on processors; 0 on a GPU."""
    from keybed.extract.encoders.torch.device import has_gpu
    from keybed.extract.encoders.transkun.transcribe import n_contexts

    return 0.0 if has_gpu() else n_contexts(duration_s) * CONTEXT_S


def transcribe_file(path: Path, progress: Progress = silent) -> Performance:
    """The notes and pedal of a sound file. Raises CannotScore where the file cannot be read or Transkun's weights are not here."""
    import soundfile

    n_blocks = math.ceil(sound_duration_s(path) / BLOCK_S)
    return_freed_memory()
    transcriber = _transcriber(path)
    try:
        with soundfile.SoundFile(path) as file:
            return transcriber.of_blocks(_mono(file, path, n_blocks, progress), file.samplerate)
    except soundfile.LibsndfileError as error:
        raise CannotScore(f"{path}: {error.error_string.rstrip('.')}; give a WAV or FLAC file") from error


def _mono(file: soundfile.SoundFile, path: Path, n_blocks: int, progress: Progress) -> Iterator[NDArray[np.float32]]:
    step = f"transcribing {path.name}"
    progress(step, 0, n_blocks)
    for number, block in enumerate(file.blocks(round(BLOCK_S * file.samplerate), dtype="float32", always_2d=True)):
        yield np.asarray(block.mean(axis=1), np.float32)
        progress(step, min(number + 1, n_blocks), n_blocks)


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
