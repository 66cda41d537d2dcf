"""The one interface of all encoders: clips in, pooled states on the common grid out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.music.performance import Performance
from keybed.store.format.recipe import EncoderSpec


@dataclass(frozen=True, eq=False)
class Clip:
    """One row as an encoder gets it.

    audio: float32 (window_s × 24000,) mono. performance: the degraded notes in window time; notes that began before
    the window have negative onsets. window_s: length of the window.
    """

    audio: NDArray[np.float32]
    performance: Performance
    window_s: float


class Pooled(NamedTuple):
    """What an encoder says about B clips, float32, before storage as float16.

    layers: (B, layer_stats, n_states, width). frames: (B, n_bins, frame_stats, width), 0 in masked bins.
    mask: bool (B, n_bins); all true for encoders without a mask. Rows of failed clips are NaN, their mask false.
    """

    layers: NDArray[np.float32]
    frames: NDArray[np.float32]
    mask: NDArray[np.bool_]


class Encoder(ABC):
    """A frozen encoder. Subclasses are final; they differ in `encode` alone.

    `encode` gets all rows of one shard in row order, None where a row has failed already. Batches have one fixed shape
    (or one per length bucket) and a failed row keeps its place in them, so a row's bytes depend on its shard alone.
    """

    spec: EncoderSpec
    execution: str = "as written"
    """Or "compiled": what a machine may decide and the last bits tell. Part of the kind of machine that logs name."""

    @abstractmethod
    def encode(self, clips: Sequence[Clip | None]) -> Pooled:
        """Pool every clip's hidden states. Raises EncoderError for input that no row status covers."""
