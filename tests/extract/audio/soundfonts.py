"""Small soundfonts with one piano preset, written as the SoundFont 2.04 specification says."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

RATE = 24_000
_FILTER_CUTOFF, _PAN, _DECAY, _SUSTAIN, _RELEASE = 8, 17, 36, 37, 38
_INSTRUMENT, _KEYS, _VELOCITIES, _SAMPLE, _ROOT = 41, 43, 44, 53, 58


@dataclass(frozen=True)
class Zone:
    """A range of keys and velocities that plays a decaying tone of this harmonic (of A4). release_s of its envelope."""

    keys: tuple[int, int] = (0, 127)
    velocities: tuple[int, int] = (0, 127)
    harmonic: int = 1
    pan: int = 0
    release_s: float = 0.3
    decay_s: float = 8.0


def write_soundfont(path: Path, zones: list[Zone]) -> Path:
    """Write a soundfont whose preset 0 has these zones."""
    harmonics = sorted({zone.harmonic for zone in zones})
    time_s = np.arange(6 * RATE) / RATE
    sounds = [(20_000 * np.sin(2 * np.pi * 440 * h * time_s) * np.exp(-time_s * 0.8)).astype("<i2") for h in harmonics]
    starts = np.cumsum([0, *(sound.size + 46 for sound in sounds)])
    data = b"".join(sound.tobytes() + bytes(92) for sound in sounds)
    generators, bags = [], []
    for zone in zones:
        bags.append(len(generators))
        generators += [
            struct.pack("<HBB", _KEYS, *zone.keys),
            struct.pack("<HBB", _VELOCITIES, *zone.velocities),
            struct.pack("<Hh", _PAN, zone.pan),
            struct.pack("<Hh", _DECAY, round(1200 * np.log2(zone.decay_s))),
            struct.pack("<Hh", _SUSTAIN, 1000),
            struct.pack("<Hh", _RELEASE, round(1200 * np.log2(zone.release_s))),
            struct.pack("<HH", _ROOT, 69),
            struct.pack("<HH", _SAMPLE, harmonics.index(zone.harmonic)),
        ]
    bags.append(len(generators))
    samples = [
        _name(f"h{h}") + struct.pack("<5IBbHH", a, a + s.size, a + 8, a + s.size - 8, RATE, 69, 0, 0, 1)
        for h, a, s in zip(harmonics, starts, sounds, strict=False)
    ]
    modulator, nothing = bytes(10), bytes(4)
    pdta = {
        b"phdr": _name("piano")
        + struct.pack("<3H3I", 0, 0, 0, 0, 0, 0)
        + _name("EOP")
        + struct.pack("<3H3I", 0, 0, 1, 0, 0, 0),
        b"pbag": struct.pack("<4H", 0, 0, 1, 0),
        b"pmod": modulator,
        b"pgen": struct.pack("<HH", _INSTRUMENT, 0) + nothing,
        b"inst": _name("piano") + struct.pack("<H", 0) + _name("EOI") + struct.pack("<H", len(zones)),
        b"ibag": b"".join(struct.pack("<HH", bag, 0) for bag in bags),
        b"imod": modulator,
        b"igen": b"".join(generators) + nothing,
        b"shdr": b"".join(samples) + _name("EOS") + bytes(26),
    }
    info = {b"ifil": struct.pack("<HH", 2, 4), b"isng": b"EMU8000\0", b"INAM": b"test\0\0"}
    body = b"sfbk" + _list(b"INFO", info) + _list(b"sdta", {b"smpl": data}) + _list(b"pdta", pdta)
    path.write_bytes(_chunk(b"RIFF", body))
    return path


def _name(text: str) -> bytes:
    return text.encode().ljust(20, b"\0")


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def _list(name: bytes, chunks: dict[bytes, bytes]) -> bytes:
    return _chunk(b"LIST", name + b"".join(_chunk(key, data) for key, data in chunks.items()))
