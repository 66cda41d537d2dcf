"""Rooms and microphones of a plan: impulse responses by image sources, and which each segment draws.

All four variants of a segment have one room and one microphone, so neither tells a tier.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.extract import degrade
from keybed.extract.audio.room import LONGEST_S, Rooms, refuse_long
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.planning.row_plan import PlanError
from keybed.extract.planning.segments import RowOrder
from keybed.extract.planning.turns import in_turn
from keybed.store.counted import counted
from keybed.store.format.vocabulary import MICROPHONE, SPLITS

ROOMS = "rooms.npy"
"""Name of the responses' file, beside the notes."""
MOST_ROOMS = 200
_MADE, _DRAWN, _MICROPHONE = 4, 5, 6
"""Purposes of a random generator, beside those of segments and soundfonts."""
SIZE_M = ((4.0, 3.5, 2.5), (14.0, 11.0, 6.0))
RT60_S = (0.25, 1.1)
DISTANCE_M = (0.6, 4.0)
"""From the piano to the microphone."""
MOST_REFLECTIONS = 17
"""Order of the image sources; later ones continue the decay as noise."""
PRE_EMPHASIS, LOW_CUT_HZ, DRIVE_DB = (0.0, 0.4), (20.0, 120.0), (-20.0, 0.0)


def make_rooms(n: int, seed: int) -> Rooms:
    """n rooms of random size, absorption and places of piano and microphone. Raises PlanError where pyroomacoustics is absent."""
    if not 1 <= n <= MOST_ROOMS:
        raise PlanError(f"--rooms {n}: from 1 to {MOST_ROOMS}")
    try:
        import pyroomacoustics
    except ModuleNotFoundError as error:
        raise PlanError(
            "--rooms needs pyroomacoustics, which is not installed; in Keybed's checkout: pip install -c constraints.txt '.[rooms]'. "
            "It is needed here alone: the impulse responses are kept in the store"
        ) from error
    responses, rt60_s = [], []
    for number in range(n):
        rng = _generator(seed, _MADE, number)
        response, decay = _one_room(pyroomacoustics, rng)
        responses.append(response)
        rt60_s.append(decay)
    longest = max(r.size for r in responses)
    refuse_long(longest, "pyroomacoustics")
    padded = np.stack([np.pad(r, (0, longest - r.size)) for r in responses])
    return Rooms(padded.astype(np.float32), np.array(rt60_s))


def draw_rooms(order: RowOrder, n_rooms: int, seed: int) -> dict[str, NDArray]:
    """Columns `room` uint8 (rows,) and `microphone` float32 (rows, 4), equal within a segment."""
    columns = order.columns
    n_rows = columns["segment"].size
    room, microphone = np.zeros(n_rows, np.uint8), np.zeros((n_rows, len(MICROPHONE)), np.float32)
    for split in range(len(SPLITS)):
        rows, chosen = in_turn(order, split, range(n_rooms), _generator(seed, _DRAWN, split))
        room[rows] = chosen
    _, first, of_row = np.unique(columns["segment"], return_index=True, return_inverse=True)
    of_segment = np.array([_microphone(columns, row, seed) for row in first], np.float32).reshape(-1, len(MICROPHONE))
    microphone[:] = of_segment[of_row]
    return {"room": room, "microphone": microphone}


def room_line(rooms: Rooms) -> str:
    """What was made, in words."""
    low, high = rooms.rt60_s.min(), rooms.rt60_s.max()
    return f"{counted(len(rooms.rt60_s), 'room')}: sound decays by 60 dB in {low:.2f} to {high:.2f} s"


def _microphone(columns: dict[str, NDArray], row: int, seed: int) -> tuple[float, ...]:
    """A segment's microphone, and the level of the noise floor that it has anyway."""
    recording, start_s = int(columns["recording"][row]), float(columns["start_s"][row])
    rng = _generator(seed, _MICROPHONE, int(columns["segment"][row]))
    low_cut_hz = float(np.exp(rng.uniform(*np.log(LOW_CUT_HZ))))
    floor = degrade.noise_floor(seed, recording, start_s)
    return rng.uniform(*PRE_EMPHASIS), low_cut_hz, rng.uniform(*DRIVE_DB), 20 * np.log10(floor.ratio)


def _one_room(pyroomacoustics: Any, rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
    """(response, measured time of decay by 60 dB in seconds)."""
    size = rng.uniform(*SIZE_M)
    wanted_s = _possible_rt60(size, float(rng.uniform(*RT60_S)))
    absorption, _ = pyroomacoustics.inverse_sabine(wanted_s, size)
    room = pyroomacoustics.ShoeBox(
        size,
        fs=SAMPLE_RATE_HZ,
        materials=pyroomacoustics.Material(absorption),
        max_order=MOST_REFLECTIONS,
        air_absorption=True,
    )
    piano = np.array([*(size[:2] * rng.uniform(0.25, 0.75, 2)), 1.0])
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(*DISTANCE_M)
    aside = piano + distance * np.array([np.cos(angle), np.sin(angle), 0.0]) + [0, 0, rng.uniform(0.1, 1.0)]
    room.add_source(piano)
    room.add_microphone(np.clip(aside, 0.3, size - 0.3))
    room.compute_rir()
    early = np.asarray(room.rir[0][0], np.float64)
    response = _with_tail(early[int(np.abs(early).argmax()) :], wanted_s, rng)
    return response / np.sqrt((response**2).sum()), decay_time(response)


def _possible_rt60(size: NDArray[np.float64], wanted_s: float) -> float:
    """At least the decay that Sabine's formula gives for walls that absorb 90 %."""
    volume, (x, y, z) = float(np.prod(size)), size
    surface = 2 * float(x * y + y * z + z * x)
    return max(wanted_s, 0.161 * volume / (0.9 * surface))


def _with_tail(early: NDArray[np.float64], rt60_s: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """The first 80 ms of the image sources, and noise of their level that decays on."""
    n, mixed, fade = round(min(rt60_s, LONGEST_S) * SAMPLE_RATE_HZ), round(0.08 * SAMPLE_RATE_HZ), 240
    early = np.pad(early, (0, max(n - early.size, 0)))[:n]
    level = np.sqrt((early[mixed - 4 * fade : mixed] ** 2).mean())
    time_s = np.arange(n) / SAMPLE_RATE_HZ
    decay = 10 ** (-3 * (time_s - mixed / SAMPLE_RATE_HZ) / rt60_s)
    share = np.clip((np.arange(n) - (mixed - fade)) / fade, 0.0, 1.0)
    return np.asarray(early * np.sqrt(1 - share) + rng.standard_normal(n) * level * decay * np.sqrt(share))


def decay_time(response: NDArray[np.float64]) -> float:
    """Time of decay by 60 dB in seconds: Schroeder's backward integral, a line from −5 to −25 dB (ISO 3382, T20)."""
    energy = np.cumsum(response[::-1] ** 2)[::-1]
    level = 10 * np.log10(np.maximum(energy / energy[0], 1e-12))
    part = np.flatnonzero((level <= -5) & (level >= -25))
    slope = np.polyfit(part / SAMPLE_RATE_HZ, level[part], 1)[0]
    return float(-60 / slope)


def _generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
