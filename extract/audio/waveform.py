"""The finished waveform of a row: one sample rate, one loudness, and measures of what the gain was.

Every row has the same RMS, so that loudness does not reveal the tier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from keybed.store.format.vocabulary import WAVEFORM_MEASURES, Status

if TYPE_CHECKING:
    from keybed.extract.degrade.variant import Variant

SAMPLE_RATE_HZ = 24_000
"""Rate of every waveform in Keybed (mono); MERT takes this rate."""
TARGET_RMS_DBFS = -26.0
PEAK_CEILING_DBFS = -0.5
"""Where the target RMS would lift the peak above this, the gain stops here and the clip is softer. Nothing is clipped."""
SILENCE_RMS_DBFS = -100.0


@dataclass(eq=False)
class RenderedRow:
    """A variant with its waveform, before encoding.

    variant: notes, labels, status and reason of the row. audio: float32 (window_s × 24000,), zeros where the status is
    not OK; code that stores it elsewhere may replace it by an empty array. waveform: float32 (3,),
    `vocabulary.WAVEFORM_MEASURES` in dB, NaN where the status is not OK. audio_sha256: of the samples, set by
    `RowMaker`; empty where the status is not OK. tokens: of the notes, by the name of the encoder that takes them, where
    `RowMaker.fill` made them.
    """

    variant: Variant
    audio: NDArray[np.float32]
    waveform: NDArray[np.float32]
    audio_sha256: str = ""
    tokens: Mapping[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> Status:
        """Status of the row: what failed in its MIDI, notes or audio, or OK."""
        return self.variant.status

    @property
    def reason(self) -> str:
        """Why the row failed, in words; empty where it did not."""
        return self.variant.reason


def silent_row(variant: Variant, n_samples: int) -> RenderedRow:
    """A failed variant with silence for audio."""
    unknown = np.full(len(WAVEFORM_MEASURES), np.nan, np.float32)
    return RenderedRow(variant, np.zeros(n_samples, np.float32), unknown)


def normalised_row(variant: Variant, audio: NDArray[np.float64]) -> RenderedRow:
    """A variant with its audio scaled to TARGET_RMS_DBFS, or to the peak ceiling where that gain is smaller.

    audio: float64 (samples,), noise included. The row fails with SILENT_AUDIO below SILENCE_RMS_DBFS and with
    NOT_FINITE where a sample is NaN or infinite.
    """
    rms = float(np.sqrt(np.mean(audio**2)))
    if not np.isfinite(rms):
        problem = variant.failed(Status.NOT_FINITE, "the waveform holds values that are not finite")
        return silent_row(problem, audio.size)
    if rms < 10 ** (SILENCE_RMS_DBFS / 20):
        problem = variant.failed(Status.SILENT_AUDIO, f"silent: rms below {SILENCE_RMS_DBFS:.0f} dBFS")
        return silent_row(problem, audio.size)
    peak = float(max(audio.max(), -audio.min()))
    gain = min(10 ** (TARGET_RMS_DBFS / 20) / rms, 10 ** (PEAK_CEILING_DBFS / 20) / peak)
    measures = 20 * np.log10([rms * gain, peak * gain, gain])
    scaled = np.multiply(audio, gain, out=np.empty(audio.size, np.float32), casting="same_kind")
    return RenderedRow(variant, scaled, measures.astype(np.float32))
