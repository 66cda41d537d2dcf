"""Is a waveform what the recipe says? What is wrong with a recording is a row status, given before any encoder sees it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.encoders.base import Clip
from keybed.extract.encoders.errors import EncoderError
from keybed.store.format.recipe import EncoderSpec


def checked_waveform(spec: EncoderSpec, clip: Clip, row: int) -> NDArray[np.float32]:
    """The clip's waveform, float32 (window_s × 24000,).

    row: of the shard. Raises EncoderError for another length (a sample short, another sample rate), another type or
    more than one channel: that is a caller's mistake and no property of the recording.
    """
    n_samples = round(spec.preprocessing["window_s"] * SAMPLE_RATE_HZ)
    if clip.audio.shape != (n_samples,) or clip.audio.dtype != np.float32:
        raise EncoderError(
            f"{spec.name}: the clip of row {row} of this shard is {clip.audio.dtype} of shape {clip.audio.shape}, the "
            f"recipe's window is {n_samples} mono float32 samples at {SAMPLE_RATE_HZ} Hz"
        )
    return clip.audio
