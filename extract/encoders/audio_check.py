"""Is a waveform fit to be encoded? The answer is a row status, never an exception."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from extract.performance import Performance
from store.schema import Status

SILENCE_PEAK = 1e-4
"""A clip whose every sample is below this (−80 dBFS) says nothing: normalising it would only make its dither loud."""


def check_audio(audio: NDArray[np.float32], expected_samples: int) -> Status:
    """Status of one mono clip: AUDIO_TOO_SHORT, NOT_FINITE, SILENT_AUDIO or OK, in this order of precedence.

    audio: float32 (samples,), at the rate of every waveform here (`base.SAMPLE_RATE_HZ`); a clip at another rate has
    another number of samples. Raises ValueError for what is not a mono float32 vector, or is longer than expected:
    that is a caller's mistake (stereo, integers, another sample rate), not a property of the recording.
    """
    if audio.ndim != 1 or audio.dtype != np.float32:
        raise ValueError(f"audio must be a float32 vector, not {audio.dtype} of shape {audio.shape}")
    if audio.size > expected_samples:
        raise ValueError(f"{audio.size} samples where {expected_samples} make a window: is the sample rate another?")
    if audio.size < expected_samples:
        return Status.AUDIO_TOO_SHORT
    if not np.isfinite(audio).all():
        return Status.NOT_FINITE
    if audio.size == 0 or max(float(audio.max()), -float(audio.min())) < SILENCE_PEAK:
        return Status.SILENT_AUDIO
    return Status.OK


def check_notes(performance: Performance, window_s: float) -> Status:
    """NO_NOTES where no note begins within [0, window_s), else OK."""
    within = (performance.onset_s >= 0) & (performance.onset_s < window_s)
    return Status.OK if within.any() else Status.NO_NOTES
