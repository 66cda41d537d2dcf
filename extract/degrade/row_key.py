"""Random generators of a row, keyed by its identity, so that order, process and machine do not matter."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

import numpy as np

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


def generator_of(number: int) -> np.random.Generator:
    """A Philox 4x64 generator with a 128-bit key."""
    return np.random.Generator(np.random.Philox(key=number))
