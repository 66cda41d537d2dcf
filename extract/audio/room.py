"""A room and a microphone between piano and clip: impulse response, pre-emphasis, low cut, soft clipping.

The noise of the tone axis and the noise floor come after them, so a tone label is exact in every room.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.degrade.excerpt import PRE_ROLL_S
from keybed.store.errors import KeybedError

VERSION = 1
"""Raise it whenever the same room and microphone would give another sound."""
LONGEST_S = PRE_ROLL_S
"""The pre-roll sounds into the window through a response of this length at most."""
LOW_CUT_ORDER = 2


class BadRooms(KeybedError):
    """The impulse responses of a store are damaged or too long; the message says what to do."""


@dataclass(frozen=True)
class Microphone:
    """pre_emphasis: α of y[t] = x[t] − α·x[t−1]. low_cut_hz: corner of a high-pass filter. drive_db: peak over the level at which
    tanh begins to bend it."""

    pre_emphasis: float
    low_cut_hz: float
    drive_db: float


@dataclass(frozen=True, eq=False)
class Rooms:
    """responses: float32 (room, samples) at 24 kHz, energy 1, the direct sound first. rt60_s: time of decay by 60 dB."""

    responses: NDArray[np.float32]
    rt60_s: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Recording:
    """What one segment is recorded with."""

    response: NDArray[np.float32]
    microphone: Microphone

    def apply(self, sound: NDArray[np.float64], lead: int) -> NDArray[np.float64]:
        """The sound in the room and through the microphone, float64, as long as before. lead: samples before the window."""
        from scipy.signal import butter, fftconvolve, lfilter, sosfilt

        wet = fftconvolve(sound, self.response.astype(np.float64))[: sound.size]
        low_cut = butter(LOW_CUT_ORDER, self.microphone.low_cut_hz, "highpass", fs=SAMPLE_RATE_HZ, output="sos")
        wet = sosfilt(low_cut, lfilter([1.0, -self.microphone.pre_emphasis], [1.0], wet))
        return soft_clipped(wet, lead, self.microphone.drive_db)


def soft_clipped(sound: NDArray[np.float64], lead: int, drive_db: float) -> NDArray[np.float64]:
    """tanh of the sound, whose peak within the window lies `drive_db` over 1 before it; the small-signal gain stays 1."""
    peak = float(np.abs(sound[lead:]).max(initial=0.0))
    if peak == 0.0:
        return sound
    gain = 10 ** (drive_db / 20) / peak
    return np.asarray(np.tanh(sound * gain) / gain)


def rooms_bytes(rooms: Rooms) -> bytes:
    """The file of a store's rooms; equal rooms give equal bytes."""
    file = io.BytesIO()
    for array in (rooms.rt60_s, rooms.responses):
        np.save(file, array, allow_pickle=False)
    return file.getvalue()


def describe_rooms(rooms: Rooms) -> dict[str, Any]:
    """What of the rooms changes a number, for the recipe."""
    return {
        "version": VERSION,
        "sha256": hashlib.sha256(rooms_bytes(rooms)).hexdigest(),
        "rt60_s": [round(float(t), 3) for t in rooms.rt60_s],
    }


@cache
def load_rooms(path: Path) -> Rooms:
    """Read once per process. Raises BadRooms where the file is cut short, or a response is longer than the pre-roll."""
    try:
        with path.open("rb") as file:
            rt60_s, responses = (np.load(file, allow_pickle=False) for _ in range(2))
        if responses.ndim != 2 or responses.dtype != np.float32 or rt60_s.shape != responses.shape[:1]:
            raise ValueError("its arrays do not fit together")
    except (OSError, ValueError, EOFError) as error:
        raise BadRooms(f"{path} holds no impulse responses ({error}): plan the store again") from error
    refuse_long(responses.shape[1], str(path))
    return Rooms(responses, rt60_s)


def refuse_long(n_samples: int, where: str) -> None:
    """Raise BadRooms for a response of more than LONGEST_S: what sounded before the pre-roll would be missing in it."""
    if n_samples > LONGEST_S * SAMPLE_RATE_HZ:
        raise BadRooms(
            f"{where}: an impulse response of {n_samples / SAMPLE_RATE_HZ:.2f} s is longer than the {LONGEST_S:g} s that are "
            "rendered before a window; give shorter ones"
        )


def microphone_of(values: Sequence[float]) -> Microphone:
    """From a row of `row/microphone`."""
    return Microphone(*(float(v) for v in values[:3]))
