"""One loudness for every row, so that how loud a clip is says nothing about how well it was played."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.store.format.vocabulary import WAVEFORM_MEASURES, Status

SAMPLE_RATE_HZ = 24_000
"""Rate of every waveform in Keybed (mono), the rate that MERT takes."""
TARGET_RMS_DBFS = -26.0
PEAK_CEILING_DBFS = -0.5
"""Where the target would pass this peak, the gain stops here and the clip stays softer; nothing is clipped."""
SILENCE_RMS_DBFS = -100.0


@dataclass(frozen=True, eq=False)
class RenderedAudio:
    """A finished waveform, float32 (window_s x 24000,), and its measures (3,), `keybed.store.schema.WAVEFORM_MEASURES`.

    Where status is not OK the audio is all zeros, the measures NaN, and reason says why.
    """

    audio: NDArray[np.float32]
    waveform: NDArray[np.float32]
    status: Status = Status.OK
    reason: str = ""


def failed(n_samples: int, status: Status, reason: str) -> RenderedAudio:
    """A row whose audio could not be made."""
    return RenderedAudio(
        np.zeros(n_samples, np.float32), np.full(len(WAVEFORM_MEASURES), np.nan, np.float32), status, reason
    )


def normalise(audio: NDArray[np.float64]) -> RenderedAudio:
    """Scale to TARGET_RMS_DBFS, or to the peak ceiling where that comes first; silence gets status SILENT_AUDIO."""
    rms = float(np.sqrt(np.mean(audio**2)))
    if not np.isfinite(rms):
        return failed(audio.size, Status.NOT_FINITE, "the waveform holds values that are not finite")
    if rms < 10 ** (SILENCE_RMS_DBFS / 20):
        return failed(audio.size, Status.SILENT_AUDIO, f"silent: rms below {SILENCE_RMS_DBFS:.0f} dBFS")
    peak = float(np.abs(audio).max())
    gain = min(10 ** (TARGET_RMS_DBFS / 20) / rms, 10 ** (PEAK_CEILING_DBFS / 20) / peak)
    measures = 20 * np.log10([rms * gain, peak * gain, gain])
    return RenderedAudio((audio * gain).astype(np.float32), measures.astype(np.float32))
