"""Pedal: changes that come late, come early or never clear, the way a careless foot blurs and chops.

A pedal change is a lift (the value falling below 64) with the press that follows it. Half-pedalling is a foot that
crosses 64 early or late, for that is what the synthesiser, and a damper, makes of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.ticks import on_ticks
from keybed.extract.music.performance import SUSTAIN_ON

FULL_SHIFT_S = 0.3
"""A crossing displaced by this much or more is a wholly spoiled change; less counts in proportion."""
LONGEST_SHIFT_S = 0.5
"""Wholly spoiled changes are displaced by FULL_SHIFT_S to this much."""
SMALLEST_DEPTH = 0.05
"""A last change spoiled less than this is left alone."""
KINDS = ("late", "early", "late press", "never clears")
KIND_WEIGHTS = (0.40, 0.20, 0.15, 0.25)
"""How often each kind is tried first; one that has no room gives way to the next."""
_CLEARANCE_S = 0.03


class SpoiledPedal(NamedTuple):
    """Pedal events, the share of the window's changes that were spoiled, and how many changes there are."""

    pedal_s: NDArray[np.float64]
    pedal_value: NDArray[np.int16]
    share_spoiled: float
    n_changes: int


def value_at(
    pedal_s: NDArray[np.float64], pedal_value: NDArray[np.int16], when_s: NDArray[np.float64]
) -> NDArray[np.int16]:
    """The pedal's value in force at each time; 0 before the first event."""
    held = np.concatenate([np.zeros(1, np.int16), pedal_value])
    return np.asarray(held[np.searchsorted(pedal_s, when_s, side="right")])


def crossings(
    pedal_s: NDArray[np.float64], pedal_value: NDArray[np.int16]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Indices of the events at which the pedal crosses 64, and whether each is a press."""
    on = np.concatenate([[False], pedal_value >= SUSTAIN_ON])
    index = np.flatnonzero(on[1:] != on[:-1])
    return index, on[1:][index]


def lifts(pedal_s: NDArray[np.float64], pedal_value: NDArray[np.int16], window_s: float) -> int:
    """Number of pedal lifts in the window."""
    index, press = crossings(pedal_s, pedal_value)
    when = pedal_s[index]
    return int((~press & (when >= 0) & (when < window_s)).sum())


def spoil_pedal(
    pedal_s: NDArray[np.float64],
    pedal_value: NDArray[np.int16],
    share: float,
    window_s: float,
    rng: np.random.Generator,
) -> SpoiledPedal:
    """Spoil `share` of the window's pedal changes: whole ones, and one in part for what remains."""
    index, press = crossings(pedal_s, pedal_value)
    when = pedal_s[index]
    changes = np.flatnonzero(~press & (when >= 0) & (when < window_s))
    n = changes.size
    if share == 0.0 or n == 0:
        return SpoiledPedal(pedal_s, pedal_value, 0.0, n)
    depths = np.zeros(n)
    whole = min(int(share * n), n)
    chosen = rng.permutation(n)
    depths[chosen[:whole]] = 1.0
    rest = share * n - whole
    if whole < n and rest >= SMALLEST_DEPTH:
        depths[chosen[whole]] = rest

    moved = when.copy()
    never = np.zeros(n, bool)
    for change, depth in enumerate(depths):
        if depth > 0:
            never[change] = _displace(moved, changes[change], depth, rng)
    value = pedal_value.copy()
    for change in changes[never]:
        until = index[change + 1] if change + 1 < index.size else pedal_s.size
        dip = slice(index[change], until)
        value[dip] = np.maximum(value[dip], SUSTAIN_ON + value[dip] // 8)
    displaced = np.abs(moved - when)
    following = np.minimum(changes + 1, when.size - 1)
    shift = np.maximum(displaced[changes], np.where(following > changes, displaced[following], 0.0))
    done = np.where(never, 1.0, np.minimum(shift / FULL_SHIFT_S, 1.0))
    return SpoiledPedal(_warp(pedal_s, when, moved), value, float(done.mean()), n)


def _displace(moved: NDArray[np.float64], lift: int, depth: float, rng: np.random.Generator) -> bool:
    """Move one change's crossings in place, in the first manner of a drawn order that has room; True: never clears."""
    shift = depth * FULL_SHIFT_S if depth < 1.0 else rng.uniform(FULL_SHIFT_S, LONGEST_SHIFT_S)
    before = moved[lift - 1] if lift else -np.inf
    press = moved[lift + 1] if lift + 1 < moved.size else np.inf
    after = moved[lift + 2] if lift + 2 < moved.size else np.inf
    for kind in rng.choice(len(KINDS), len(KINDS), replace=False, p=KIND_WEIGHTS):
        name = KINDS[kind]
        if name == "late":
            gap = min(press - moved[lift], 0.1)
            new_press = max(press, moved[lift] + shift + gap)
            if new_press < after - _CLEARANCE_S or np.isinf(press):
                moved[lift] += shift
                if not np.isinf(press):
                    moved[lift + 1] = new_press
                return False
        elif name == "early" and moved[lift] - shift > before + _CLEARANCE_S:
            moved[lift] -= shift
            return False
        elif name == "late press" and not np.isinf(press) and press + shift < after - _CLEARANCE_S:
            moved[lift + 1] += shift
            return False
        elif name == "never clears" and depth == 1.0 and not np.isinf(press):
            return True
    return False


def _warp(pedal_s: NDArray[np.float64], old: NDArray[np.float64], new: NDArray[np.float64]) -> NDArray[np.float64]:
    """Carry every pedal event along with the crossings around it, so that the foot's curve keeps its shape."""
    if np.array_equal(old, new):
        return pedal_s
    ends = np.array([min(pedal_s[0], old[0], new[0]) - 1.0, max(pedal_s[-1], old[-1], new[-1]) + 1.0])
    from_s = np.concatenate([ends[:1], old, ends[1:]])
    to_s = np.concatenate([ends[:1], new, ends[1:]])
    warped = np.interp(pedal_s, from_s, to_s)
    return np.asarray(np.where(warped == pedal_s, pedal_s, np.maximum.accumulate(on_ticks(warped))))
