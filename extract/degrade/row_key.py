"""Random generators of a row, keyed by its identity, so that order, process and machine do not matter."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import DTypeLike, NDArray

GENERATOR = "numpy Philox 4x64, key = sha256(stream, seed, recording, start_s, tier)[:16]"


@dataclass(frozen=True)
class RowKey:
    """Identity of one row. Each axis draws from its own named stream, so that axes are independent."""

    seed: int
    recording_id: int
    start_s: float
    tier: int

    def number(self, stream: str) -> int:
        """The 128-bit key of one stream: sha256 of the stream's name and the identity, first 16 bytes."""
        row = struct.pack("<qqdq", self.seed, self.recording_id, self.start_s, self.tier)
        return int.from_bytes(hashlib.sha256(stream.encode() + b"\0" + row).digest()[:16], "little")

    def generator(self, stream: str) -> np.random.Generator:
        """A new generator at the start of one stream."""
        return generator_of(self.number(stream))


class _Key(ISeedSequence):
    """A 128-bit key as it is. Philox(key=…) gives the same state, after it has asked the system for a seed that it does not use."""

    def __init__(self, number: int) -> None:
        self._words = np.array([number % 2**64, number >> 64], np.uint64)

    def generate_state(self, n_words: int, dtype: DTypeLike = np.uint64) -> NDArray[np.uint64]:
        """The two words of the key, the only ones that Philox asks for."""
        return self._words


def generator_of(number: int) -> np.random.Generator:
    """A Philox 4x64 generator with a 128-bit key."""
    key: Any = _Key(number)  # numpy's stubs know no seed but its own classes'
    return np.random.Generator(np.random.Philox(key))
