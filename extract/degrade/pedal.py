"""Pedal: some pedal changes come too late, too early, or do not clear the sound.

A pedal change is a lift (the value falls below 64) and the press that follows it. The synthesiser knows only on (64 or
more) and off, so half-pedalling is modelled as crossing 64 too early or too late. Each movement of the pedal keeps its shape and
moves by whole sampling periods of the recording; a change that never clears keeps its shape and stays above 64.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.pedal_runs import moved_runs
from keybed.extract.degrade.texture import PEDAL_PERIOD_S
from keybed.extract.music.pedal import crossings

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
_CLEARANCE_S = 0.06
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
    *,
    follow_s: NDArray[np.float64] | None = None,
    period_s: float = PEDAL_PERIOD_S,
) -> SpoiledPedal:
    """Spoil `share` of the pedal changes whose lift lies in [0, window_s): whole changes, and one in part for the rest.

    follow_s: where each event (p,) would be if it followed the notes of a changed tempo; the movements follow in whole periods.
    period_s: sampling period of the recording's pedal.
    """
    index, press = crossings(pedal_value)
    follow = np.zeros(index.size)
    if follow_s is not None:
        follow = _whole((follow_s - pedal_s)[index], period_s)
    crossing_s = pedal_s[index] + follow
    changes = np.flatnonzero(~press & (crossing_s >= 0) & (crossing_s < window_s))
    n = changes.size
    if n == 0 or (share == 0.0 and not follow.any()):
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
            never[change] = _displace(moved, changes[change], depth, period_s, rng)
    displaced = np.abs(moved - crossing_s)
    following = np.minimum(changes + 1, crossing_s.size - 1)
    shift = np.maximum(displaced[changes], np.where(following > changes, displaced[following], 0.0))
    done = np.where(never, 1.0, np.minimum(shift / FULL_SHIFT_S, 1.0))
    times, values = moved_runs(pedal_s, pedal_value, moved - pedal_s[index], changes[never], period_s, rng)
    return SpoiledPedal(times, values, float(done.mean()), n)


def _whole(shift_s: NDArray[np.float64], period_s: float) -> NDArray[np.float64]:
    """Shifts rounded to whole periods."""
    return np.asarray(np.round(shift_s / period_s) * period_s)


def _displace(moved: NDArray[np.float64], lift: int, depth: float, period_s: float, rng: np.random.Generator) -> bool:
    """Displace one change in place, by the first kind of a drawn order that fits. True: the change never clears."""
    shift = depth * FULL_SHIFT_S if depth < 1.0 else rng.uniform(FULL_SHIFT_S, LONGEST_SHIFT_S)
    periods = shift / period_s
    shift = float(np.floor(periods + rng.random()) if depth < 1.0 else np.ceil(periods)) * period_s
    before = moved[lift - 1] if lift else -np.inf
    press = moved[lift + 1] if lift + 1 < moved.size else np.inf
    after = moved[lift + 2] if lift + 2 < moved.size else np.inf
    for kind in rng.choice(len(KINDS), len(KINDS), replace=False, p=KIND_WEIGHTS):
        name = KINDS[kind]
        if name == "late":
            gap = min(press - moved[lift], max(np.round(0.1 / period_s), 1.0) * period_s)
            later = max(np.ceil((moved[lift] + shift + gap - press) / period_s - 1e-9), 0.0) if press < np.inf else 0.0
            new_press = press + later * period_s
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
