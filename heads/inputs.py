"""`HeadInput`: one batch of features, labels and masks, as a JAX pytree of plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from keybed.heads.errors import BadInput

Array = Any
"""A NumPy or JAX array; the suffix of its name spells its axes."""

N_DIMENSIONS = 8
"""K: the number of score dimensions of a row."""

MODALITIES = ("audio", "midi")
"""The order of every modality axis M."""


class HeadInput(NamedTuple):
    """B rows; T bins, S states, C channels (each modality has its own), K dimensions.

    Features are float16 or float32; the training step standardises them in float32. A modality or a kind of feature
    that is not used is None. Padded rows have weight 0, masks and `valid` false, and row −1.
    """

    audio_BxTxC: Array = None
    audio_mask_BxT: Array = None
    midi_BxTxC: Array = None
    midi_mask_BxT: Array = None
    audio_layers_BxSxC: Array = None
    midi_layers_BxSxC: Array = None
    score_BxK: Array = None
    """float32, 0 to 100; entries that are not valid may hold anything."""
    valid_BxK: Array = None
    weight_B: Array = None
    """float32: weight of the row in the loss, from its tier's share (1 where all tiers weigh the same)."""
    segment_B: Array = None
    """int32; all variants of one segment share it."""
    row_B: Array = None
    """int32: row number in the store."""
    recording_B: Array = None
    """int32. Contrastive alignment needs it and start_s_B (float32, seconds) to find windows that overlap."""
    start_s_B: Array = None

    @property
    def n_rows(self) -> int:
        """B, padding included."""
        return len(self.row_B)


def from_arrays(
    *,
    audio_frames: NDArray | None = None,
    audio_mask: NDArray | None = None,
    midi_frames: NDArray | None = None,
    midi_mask: NDArray | None = None,
    audio_layers: NDArray | None = None,
    midi_layers: NDArray | None = None,
    audio_pooled: NDArray | None = None,
    midi_pooled: NDArray | None = None,
    score: NDArray,
    valid: NDArray,
    segment: NDArray,
    row: NDArray,
    weight: NDArray | None = None,
    recording: NDArray | None = None,
    start_s: NDArray | None = None,
) -> HeadInput:
    """Make a batch from arrays with the shapes of a store.

    frames: (row, bin, width) or (row, bin, stat, width); layers: (row, stat, state, width) or (row, state, width);
    pooled: (row, stat, width), used as layers of one state. Without a mask every bin counts; without a weight each row
    weighs 1. Raises BadInput where lengths differ, or where a modality has both layers and pooled.
    """
    n = len(row)
    arrays = {
        "audio_frames": audio_frames,
        "midi_frames": midi_frames,
        "audio_layers": audio_layers,
        "midi_layers": midi_layers,
        "audio_pooled": audio_pooled,
        "midi_pooled": midi_pooled,
        "audio_mask": audio_mask,
        "midi_mask": midi_mask,
        "score": score,
        "valid": valid,
        "segment": segment,
        "weight": weight,
        "recording": recording,
        "start_s": start_s,
    }
    wrong = {name: len(a) for name, a in arrays.items() if a is not None and len(a) != n}
    if wrong:
        raise BadInput(f"row has {n} rows but " + ", ".join(f"{k} has {v}" for k, v in wrong.items()))
    audio, midi = _frames(audio_frames), _frames(midi_frames)
    return HeadInput(
        audio_BxTxC=audio,
        audio_mask_BxT=_mask(audio_mask, audio),
        midi_BxTxC=midi,
        midi_mask_BxT=_mask(midi_mask, midi),
        audio_layers_BxSxC=_layers(audio_layers, audio_pooled),
        midi_layers_BxSxC=_layers(midi_layers, midi_pooled),
        score_BxK=np.asarray(score, np.float32),
        valid_BxK=np.asarray(valid, bool),
        weight_B=np.ones(n, np.float32) if weight is None else np.asarray(weight, np.float32),
        segment_B=np.asarray(segment, np.int32),
        row_B=np.asarray(row, np.int32),
        recording_B=None if recording is None else np.asarray(recording, np.int32),
        start_s_B=None if start_s is None else np.asarray(start_s, np.float32),
    )


def _frames(frames: NDArray | None) -> NDArray | None:
    return None if frames is None else frames.reshape(*frames.shape[:2], -1)


def _layers(layers: NDArray | None, pooled: NDArray | None) -> NDArray | None:
    if pooled is not None:
        if layers is not None:
            raise BadInput("layers and pooled of one modality fill the same field; give one of them")
        return pooled.reshape(len(pooled), 1, -1)
    if layers is None or layers.ndim == 3:
        return layers
    n, _, n_states, _ = layers.shape
    return np.moveaxis(layers, 1, 2).reshape(n, n_states, -1)


def _mask(mask: NDArray | None, frames: NDArray | None) -> NDArray | None:
    if frames is None:
        return None
    return np.ones(frames.shape[:2], bool) if mask is None else np.asarray(mask, bool)


def pad_rows(batch: HeadInput, n_rows: int) -> HeadInput:
    """Append rows of weight 0 until the batch has n_rows; raises BadInput where it already has more."""
    missing = n_rows - batch.n_rows
    if missing < 0:
        raise BadInput(f"a batch of {batch.n_rows} rows came where at most {n_rows} fit; make batch_rows larger")
    if missing == 0:
        return batch

    def pad(name: str, a: NDArray) -> NDArray:
        fill = -1 if name in ("row_B", "segment_B", "recording_B") else 0
        return np.concatenate([a, np.full((missing, *a.shape[1:]), fill, a.dtype)])

    return HeadInput(**{k: None if v is None else pad(k, np.asarray(v)) for k, v in batch._asdict().items()})


def take_rows(batch: HeadInput, index: NDArray | slice) -> HeadInput:
    """The given rows of a batch, in the given order."""
    return jax.tree.map(lambda a: a[index], batch)


def concatenate(batches: Sequence[HeadInput]) -> HeadInput:
    """Join batches with the same kinds of features along the row axis."""
    return jax.tree.map(lambda *a: np.concatenate(a), *batches)


def tier_weights(tier: NDArray, shares: Sequence[float]) -> NDArray[np.float32]:
    """Weight of each row: its tier's share divided by the mean share. The mean weight is 1 where tiers are equally frequent."""
    table = np.asarray(shares, np.float64)
    return (table / table.mean()).astype(np.float32)[np.asarray(tier, np.int64)]
