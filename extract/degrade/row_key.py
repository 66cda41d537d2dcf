"""A row's randomness: counter-based generators keyed by what the row is, never by when or where it is made."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

import numpy as np

GENERATOR = "numpy Philox 4x64, key = sha256(stream, seed, recording, start_s, tier)[:16]"


@dataclass(frozen=True)
class RowKey:
    """Names one row. Each axis draws from a stream of its own, so that no axis disturbs another."""

    seed: int
    recording_id: int
    start_s: float
    tier: int

    def number(self, stream: str) -> int:
        """128 bits, the key of one stream of this row."""
        row = struct.pack("<qqdq", self.seed, self.recording_id, self.start_s, self.tier)
        return int.from_bytes(hashlib.sha256(stream.encode() + b"\0" + row).digest()[:16], "little")

    def generator(self, stream: str) -> np.random.Generator:
        """The generator of one stream of this row, at its beginning."""
        return generator_of(self.number(stream))


def generator_of(number: int) -> np.random.Generator:
    """A Philox generator from a 128-bit key."""
    return np.random.Generator(np.random.Philox(key=number))
