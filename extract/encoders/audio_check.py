"""Check that a waveform has the recipe's length, type and sample rate before an encoder uses it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.encoders.base import Clip
from keybed.extract.encoders.errors import EncoderError
from keybed.store.format.recipe import EncoderSpec


def checked_waveform(spec: EncoderSpec, clip: Clip, row: int) -> NDArray[np.float32]:
    """Return the clip's waveform, float32 (window_s × 24000,).

    row: its number within the shard, for the message. Raises EncoderError for another length, dtype or number of
    channels. That is an error of the caller; a problem with the recording is a row status and never gets here.
    """
    n_samples = round(spec.preprocessing["window_s"] * SAMPLE_RATE_HZ)
    if clip.audio.shape != (n_samples,) or clip.audio.dtype != np.float32:
        raise EncoderError(
            f"{spec.name}: the clip of row {row} of this shard is {clip.audio.dtype} of shape {clip.audio.shape}, the "
            f"recipe's window is {n_samples} mono float32 samples at {SAMPLE_RATE_HZ} Hz"
        )
    return clip.audio
