"""Recorded audio in place of a rendering: windows of WAV or FLAC files at 24 kHz mono. Only the tone axis changes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from keybed.extract.audio import waveform as loudness
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ, RenderedRow, normalised_row, silent_row
from keybed.extract.degrade.tone import add_noise
from keybed.extract.degrade.variant import Variant
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import Status

if TYPE_CHECKING:
    import soundfile

CODE_VERSION = 1
PAD_S = 0.25
"""Read before and after the window, so that resampling and filters have settled where the window begins."""
END_TOLERANCE_S = 0.05
"""A recording that ends at most this long before its window is filled with silence; an earlier end is AudioTooShort."""
QUALITY = "HQ"


def describe() -> dict[str, Any]:
    """Everything of the reading that changes a number, for the recipe."""
    import soxr

    return {
        "code_version": CODE_VERSION,
        "resampler": f"soxr {QUALITY}",
        "resampler_version": soxr.__version__,
        "channels": "mean of all",
        "loudness_rms_dbfs": loudness.TARGET_RMS_DBFS,
        "peak_ceiling_dbfs": loudness.PEAK_CEILING_DBFS,
        "audible": "tone alone is audible; every other degradation is in the notes and not in the sound",
    }


class Recorder:
    """Reads windows of recordings. Opens the file anew for each window and reads only the window."""

    def render(self, variant: Variant, window_s: float, path: str | Path, start_s: float) -> RenderedRow:
        """The window's waveform with the variant's noise. A problem with the file becomes the row's status."""
        n = round(window_s * SAMPLE_RATE_HZ)
        if variant.status != Status.OK:
            return silent_row(variant, n)
        try:
            sound, lead = read_window(path, start_s, window_s)
        except AudioTooShort as error:
            return silent_row(variant.failed(Status.AUDIO_TOO_SHORT, str(error)), n)
        except AudioUnreadable as error:
            return silent_row(variant.failed(Status.AUDIO_UNREADABLE, str(error)), n)
        if not np.isfinite(sound).all():
            reason = f"{Path(path).name}: samples that are not finite"
            return silent_row(variant.failed(Status.NOT_FINITE, reason), n)
        return normalised_row(variant, add_noise(sound, lead, variant.noise, SAMPLE_RATE_HZ))


class AudioUnreadable(KeybedError):
    """The file is absent or is not an audio file. The message omits the folder, because folders differ between machines."""


class AudioTooShort(KeybedError):
    """The recording ends before the window does."""


def read_window(path: str | Path, start_s: float, window_s: float) -> tuple[NDArray[np.float64], int]:
    """Mono audio at 24 kHz from at most PAD_S before the window to the window's end.

    Returns float64 samples and the number of samples before the window. Raises AudioTooShort, AudioUnreadable.
    """
    import soundfile

    if not Path(path).is_file():
        raise AudioUnreadable(f"{Path(path).name}: no such file")
    try:
        with soundfile.SoundFile(path) as file:
            return _read(file, Path(path).name, start_s, window_s)
    except soundfile.LibsndfileError as error:
        raise AudioUnreadable(f"{Path(path).name}: {error.error_string}") from error


def _read(file: soundfile.SoundFile, name: str, start_s: float, window_s: float) -> tuple[NDArray[np.float64], int]:
    import soxr

    n = round(window_s * SAMPLE_RATE_HZ)
    rate = file.samplerate
    end_s = file.frames / rate
    if end_s < start_s + window_s - END_TOLERANCE_S:
        raise AudioTooShort(
            f"{name} ends at {end_s:.2f} s, its window at {start_s + window_s:.2f} s: the audio is "
            "shorter than the MIDI"
        )
    begin = max(round((start_s - PAD_S) * rate), 0)
    stop = min(round((start_s + window_s + PAD_S) * rate), file.frames)
    file.seek(begin)
    frames = file.read(stop - begin, dtype="float64", always_2d=True)
    mono = frames.mean(1)
    if rate != SAMPLE_RATE_HZ:
        mono = soxr.resample(mono, rate, SAMPLE_RATE_HZ, quality=QUALITY)
    lead = round((start_s - begin / rate) * SAMPLE_RATE_HZ)
    sound = mono[: lead + n]
    return np.pad(sound, (0, lead + n - sound.size)), lead
