"""Pedal: some pedal changes come too late, too early, or do not clear the sound.

A pedal change is a lift (the value falls below 64) and the press that follows it. The synthesiser knows only on (64 or
more) and off, so half-pedalling is modelled as crossing 64 too early or too late.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.ticks import on_ticks
from keybed.extract.music.pedal import crossings
from keybed.extract.music.performance import SUSTAIN_ON

FULL_SHIFT_S = 0.3
"""A change displaced by this many seconds or more counts as 1 spoiled change; less counts in proportion."""
LONGEST_SHIFT_S = 0.5
"""A fully spoiled change is displaced by FULL_SHIFT_S to this many seconds, drawn uniformly."""
SMALLEST_DEPTH = 0.05
"""A remaining share of one change below this is not applied."""
KINDS = ("late", "early", "late press", "never clears")
"""Late or early lift, late press, or no lift at all."""
KIND_WEIGHTS = (0.40, 0.20, 0.15, 0.25)
"""Probability that each kind is tried first; where it does not fit between its neighbours, the next kind is tried."""
_CLEARANCE_S = 0.03
"""Least time between a moved crossing and its neighbour."""


class SpoiledPedal(NamedTuple):
    """Pedal events (p,), the realised level (share of the window's changes spoiled), and the number of changes."""

    pedal_s: NDArray[np.float64]
    pedal_value: NDArray[np.int16]
    share_spoiled: float
    n_changes: int


def spoil_pedal(
    pedal_s: NDArray[np.float64],
    pedal_value: NDArray[np.int16],
    share: float,
    window_s: float,
    rng: np.random.Generator,
) -> SpoiledPedal:
    """Spoil `share` of the pedal changes whose lift lies in [0, window_s): whole changes, and one in part for the rest."""
    index, press = crossings(pedal_value)
    crossing_s = pedal_s[index]
    changes = np.flatnonzero(~press & (crossing_s >= 0) & (crossing_s < window_s))
    n = changes.size
    if share == 0.0 or n == 0:
        return SpoiledPedal(pedal_s, pedal_value, 0.0, n)
    depths = np.zeros(n)
    whole = min(int(share * n), n)
    drawn = rng.permutation(n)
    depths[drawn[:whole]] = 1.0
    rest = share * n - whole
    if whole < n and rest >= SMALLEST_DEPTH:
        depths[drawn[whole]] = rest

    moved = crossing_s.copy()
    never = np.zeros(n, bool)
    for change, depth in enumerate(depths):
        if depth > 0:
            never[change] = _displace(moved, changes[change], depth, rng)
    value = pedal_value.copy()
    for change in changes[never]:
        until = index[change + 1] if change + 1 < index.size else pedal_s.size
        dip = slice(index[change], until)
        value[dip] = np.maximum(value[dip], SUSTAIN_ON + value[dip] // 8)
    displaced = np.abs(moved - crossing_s)
    following = np.minimum(changes + 1, crossing_s.size - 1)
    shift = np.maximum(displaced[changes], np.where(following > changes, displaced[following], 0.0))
    done = np.where(never, 1.0, np.minimum(shift / FULL_SHIFT_S, 1.0))
    return SpoiledPedal(_warp(pedal_s, crossing_s, moved), value, float(done.mean()), n)


def _displace(moved: NDArray[np.float64], lift: int, depth: float, rng: np.random.Generator) -> bool:
    """Displace one change in place, by the first kind of a drawn order that fits. True: the change never clears."""
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
    """Move every pedal event with the crossings around it, so that the pedal curve keeps its shape."""
    if np.array_equal(old, new):
        return pedal_s
    ends = np.array([min(pedal_s[0], old[0], new[0]) - 1.0, max(pedal_s[-1], old[-1], new[-1]) + 1.0])
    from_s = np.concatenate([ends[:1], old, ends[1:]])
    to_s = np.concatenate([ends[:1], new, ends[1:]])
    warped = np.interp(pedal_s, from_s, to_s)
    return np.asarray(np.where(warped == pedal_s, pedal_s, np.maximum.accumulate(on_ticks(warped))))
