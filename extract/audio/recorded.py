"""Recorded audio in place of a rendering: windows of WAV or FLAC files at 24 kHz mono. Only the tone axis changes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from keybed.extract.audio import waveform as loudness
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ, RenderedRow, normalised_row, silent_row
from keybed.extract.degrade.tone import add_noises
from keybed.extract.degrade.variant import Variant
from keybed.extract.regular_files import size_of
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import Status

if TYPE_CHECKING:
    import soundfile

CODE_VERSION = 2
"""Raise it whenever the same file would give another waveform or another status."""
PAD_S = 0.25
"""Read before and after the window, so that resampling and filters have settled where the window begins."""
END_TOLERANCE_S = 0.05
"""A recording that ends at most this long before its window is filled with silence; an earlier end is AudioTooShort."""
QUALITY = "HQ"
LARGEST_GAIN_DB = 50.0
"""A window that needs more than this to reach the target loudness is silent: it would be the recording's noise, amplified."""
ABOVE_STEP_DB = 6.0
"""A window is silent unless its RMS lies this far above one step of the file's integer format (−84 dBFS for 16 bits)."""
LARGEST_CANCELLATION_DB = 30.0
"""A window whose mean of channels is this much softer than the channels is refused: they are in antiphase."""
_BITS = {"PCM_S8": 8, "PCM_U8": 8, "ULAW": 14, "ALAW": 13, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}


def describe() -> dict[str, Any]:
    """Everything of the reading that changes a number, for the recipe."""
    import soxr

    return {
        "code_version": CODE_VERSION,
        "resampler": f"soxr {QUALITY}",
        "resampler_version": soxr.__version__,
        "channels": "mean of all",
        "offset": "mean of the window and its margins removed",
        "largest_gain_db": LARGEST_GAIN_DB,
        "above_step_db": ABOVE_STEP_DB,
        "largest_cancellation_db": LARGEST_CANCELLATION_DB,
        "loudness_rms_dbfs": loudness.TARGET_RMS_DBFS,
        "peak_ceiling_dbfs": loudness.PEAK_CEILING_DBFS,
        "audible": "tone alone is audible; every other degradation is in the notes and not in the sound",
    }


class Recorder:
    """Reads windows of recordings. Opens the file anew for each window and reads only the window."""

    def render(self, variant: Variant, window_s: float, path: str | Path, start_s: float) -> RenderedRow:
        """The window's waveform with the variant's noise, without the floor that renderings get: it has its own. A problem with the file becomes the row's status."""
        return self.render_all([variant], window_s, path, start_s)[0]

    def render_all(
        self, variants: Sequence[Variant], window_s: float, path: str | Path, start_s: float
    ) -> list[RenderedRow]:
        """`render` of several variants of one window, which is read and resampled once."""
        n = round(window_s * SAMPLE_RATE_HZ)
        problem, sound, lead = None, np.zeros(0), 0
        if any(variant.status == Status.OK for variant in variants):
            problem, sound, lead = _window_or_problem(path, start_s, window_s)
        if problem is not None:
            variants = [v.failed(*problem) if v.status == Status.OK else v for v in variants]
        sounds = [(sound, lead, replace(v.noise, floor=None)) for v in variants if v.status == Status.OK]
        noisy = iter(add_noises(sounds, SAMPLE_RATE_HZ))
        return [normalised_row(v, next(noisy)) if v.status == Status.OK else silent_row(v, n) for v in variants]


def _window_or_problem(
    path: str | Path, start_s: float, window_s: float
) -> tuple[tuple[Status, str] | None, NDArray[np.float64], int]:
    """What `read_window` returns, after the status and reason of a row whose window cannot be read; None where it can."""
    try:
        sound, lead = read_window(path, start_s, window_s)
    except AudioTooShort as error:
        return (Status.AUDIO_TOO_SHORT, str(error)), np.zeros(0), 0
    except AudioSilent as error:
        return (Status.SILENT_AUDIO, str(error)), np.zeros(0), 0
    except AudioUnreadable as error:
        return (Status.AUDIO_UNREADABLE, str(error)), np.zeros(0), 0
    finite = bool(np.isfinite(sound).all())
    return None if finite else (Status.NOT_FINITE, f"{Path(path).name}: samples that are not finite"), sound, lead


class AudioUnreadable(KeybedError):
    """The file is absent or is not an audio file. The message omits the folder, because folders differ between machines."""


class AudioTooShort(KeybedError):
    """The recording ends before the window does."""


class AudioSilent(KeybedError):
    """The window holds no more than the noise of its format, or channels that cancel each other."""


def read_window(path: str | Path, start_s: float, window_s: float) -> tuple[NDArray[np.float64], int]:
    """Mono audio at 24 kHz from at most PAD_S before the window to the window's end.

    Returns float64 samples and the number of samples before the window. Raises AudioTooShort, AudioSilent, AudioUnreadable.
    """
    import soundfile

    try:
        size_of(Path(path))
    except FileNotFoundError as error:
        raise AudioUnreadable(f"{Path(path).name}: no such file") from error
    except OSError as error:
        raise AudioUnreadable(f"{Path(path).name}: {error.strerror or error}") from error
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
    finite = bool(np.isfinite(frames).all())
    if finite:
        frames = frames - frames.mean(0)
    mono = frames.mean(1)
    if finite:
        _check_loud_enough(frames, mono, name, file.subtype)
    if rate != SAMPLE_RATE_HZ:
        mono = soxr.resample(mono, rate, SAMPLE_RATE_HZ, quality=QUALITY)
    lead = round((start_s - begin / rate) * SAMPLE_RATE_HZ)
    sound = mono[: lead + n]
    return np.pad(sound, (0, lead + n - sound.size)), lead


def silence_dbfs(subtype: str) -> float:
    """RMS in dBFS below which a window of this sample format (libsndfile's name) is silent."""
    step_dbfs = -20 * np.log10(2.0 ** (_BITS[subtype] - 1)) if subtype in _BITS else -np.inf
    return float(max(loudness.TARGET_RMS_DBFS - LARGEST_GAIN_DB, step_dbfs + ABOVE_STEP_DB))


def _check_loud_enough(frames: NDArray[np.float64], mono: NDArray[np.float64], name: str, subtype: str) -> None:
    """Raise AudioSilent where the mean of the channels is no music. frames: float64 (samples, channels), without offset."""
    channels_dbfs, mono_dbfs = (10 * np.log10(np.mean(x**2) + 1e-30) for x in (frames, mono))
    least_dbfs = silence_dbfs(subtype)
    if mono_dbfs < channels_dbfs - LARGEST_CANCELLATION_DB and channels_dbfs >= least_dbfs:
        raise AudioSilent(
            f"{name}: the channels cancel each other (rms {channels_dbfs:.0f} dBFS, their mean {mono_dbfs:.0f} dBFS): "
            "antiphase stereo; turn one channel over"
        )
    if mono_dbfs < least_dbfs:
        raise AudioSilent(
            f"{name}: silent: rms {mono_dbfs:.0f} dBFS, at least {least_dbfs:.0f} dBFS is needed in {subtype} "
            f"(a gain of {loudness.TARGET_RMS_DBFS - mono_dbfs:.0f} dB would be needed)"
        )
