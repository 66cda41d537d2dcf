"""Rows as arrays, by their paths in the store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from keybed.extract.audio.waveform import RenderedRow
from keybed.extract.encoders.base import Clip, Encoder
from keybed.extract.encoders.gpu_memory import memory_in_words

_LABELS = ("score", "valid", "level", "difficulty")


def feature_arrays(
    encoder: Encoder, clips: Sequence[Clip | None], dtype: DTypeLike | None = None
) -> dict[str, np.ndarray]:
    """One encoder's arrays. dtype: of layers and frames; None for the encoder's own.

    Raises EncoderError where the memory of a GPU runs out.
    """
    with memory_in_words(encoder.spec):
        pooled = encoder.encode(clips)
    group = encoder.spec.group
    arrays = {f"{group}/layers": pooled.layers, f"{group}/frames": pooled.frames}
    if dtype is not None:
        arrays = {path: values.astype(dtype) for path, values in arrays.items()}
    if pooled.measures is not None:
        arrays[f"{group}/measures"] = pooled.measures
    return {**arrays, f"{group}/mask": pooled.mask} if encoder.spec.has_mask else arrays


def label_arrays(rendered: Sequence[RenderedRow]) -> dict[str, np.ndarray]:
    """The task-written columns."""
    arrays = {f"row/{label}": np.stack([getattr(row.variant, label) for row in rendered]) for label in _LABELS}
    arrays["row/waveform"] = np.stack([row.waveform for row in rendered])
    arrays["row/status"] = np.array([row.status for row in rendered], np.uint8)
    arrays["row/n_notes"] = np.array([row.variant.n_notes for row in rendered], np.int32)
    return arrays
