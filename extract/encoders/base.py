"""The interface of all encoders: clips in, pooled hidden states on the common time grid out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.music.performance import Performance
from keybed.store.format.recipe import EncoderSpec


class Music(NamedTuple):
    """Which music a clip is from: the sha256 of its MIDI file, and the name of its piece in the store; "" where unknown."""

    midi_sha256: str
    piece: str = ""


@dataclass(frozen=True, eq=False)
class Clip:
    """One row in the form that encoders take.

    audio: float32 (window_s × 24000,) mono. performance: the degraded notes in window time; notes that began before
    the window have negative onsets. window_s: length of the window. tokens: of the notes, by encoder, where they have been
    made already. music: which it is, for encoders whose models may have been fitted to it; None where unknown.
    """

    audio: NDArray[np.float32]
    performance: Performance
    window_s: float
    tokens: Mapping[str, Any] = field(default_factory=dict)
    music: Music | None = None


class Pooled(NamedTuple):
    """Features of B clips, float32 or, from a GPU, float16; the store keeps float16.

    layers: (B, layer_stats, n_states, width). frames: (B, n_bins, frame_stats, width), 0 in masked bins.
    mask: bool (B, n_bins), all true for encoders without a mask. Rows of failed clips are NaN and their mask is false.
    measures: (B, n) of encoders whose preprocessing names "measures", which describe the row beside its features; else None.
    """

    layers: NDArray[np.floating]
    frames: NDArray[np.floating]
    mask: NDArray[np.bool_]
    measures: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class SelfCheck:
    """Result of `self_check`: relative error (norm of the difference over norm) of one clip's features."""

    layers: float
    frames: float
    seconds: float
    """What the check cost, building the encoder not counted."""
    clip_s: float
    """What the encoder took for the clip."""


class Encoder(ABC):
    """A frozen encoder. Subclasses are final and implement `encode`.

    `encode` gets all rows of one shard in row order, None for rows that have failed. Batches have one fixed shape (or
    one per length bucket) and failed rows keep their position in them, so the bytes of a row depend only on its shard.
    """

    spec: EncoderSpec
    execution: str = "as written"
    """"as written" or "compiled". The machine decides; the last bits of the features differ. Logs keep it as part of the
    kind of machine."""

    self_check: SelfCheck | None = None
    """How far this machine's arithmetic is from float64; None for encoders without another way to compute them."""

    @abstractmethod
    def encode(self, clips: Sequence[Clip | None]) -> Pooled:
        """Pool the hidden states of every clip. Raises EncoderError for input that no row status covers."""


def failed_clips(clips: Sequence[Clip | None]) -> NDArray[np.bool_]:
    """Which rows have failed, bool (B,)."""
    return np.array([clip is None for clip in clips], np.bool_)
