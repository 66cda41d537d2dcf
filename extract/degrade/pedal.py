"""Pedal: some pedal changes come too late or too early, so that they do not clear the sound where the harmony changes.

A pedal change is a lift (the value falls below 64) and the press that follows it. The synthesiser knows only on (64 or
more) and off, so half-pedalling is modelled as crossing 64 too early or too late. First, stretches of the pedal change places
(`pedal_swaps`); what is still missing, single changes make up: each movement keeps its shape and moves by whole sampling periods.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.pedal_runs import moved_runs
from keybed.extract.degrade.pedal_swaps import swapped_stretches
from keybed.extract.degrade.texture import PEDAL_PERIOD_S
from keybed.extract.music.pedal import crossings

FULL_SHIFT_S = 0.3
"""A change displaced by this many seconds or more counts as 1 spoiled change; less counts in proportion."""
LONGEST_SHIFT_S = 0.8
"""No change is displaced by more than this many seconds."""
SMALLEST_DEPTH = 0.05
"""A remaining share of one change below this is not applied."""
KINDS = ("late", "early", "late press")
"""Late or early lift, late press."""
KIND_WEIGHTS = (0.5, 0.3, 0.2)
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
    pedal_s, pedal_value = moved_runs(pedal_s, pedal_value, follow, period_s, rng)
    pedal_s, pedal_value, swapped = swapped_stretches(
        pedal_s, pedal_value, changes, share * n, FULL_SHIFT_S, LONGEST_SHIFT_S, rng
    )
    moved = swapped.copy()
    left = share * n - _spoiled(moved, changes).sum()
    index, _ = crossings(pedal_value)
    now_s = pedal_s[index]
    place = now_s.copy()
    order = rng.permutation(n).tolist()
    still = [change for change in order if not swapped[changes[change] : changes[change] + 2].any()]
    for change in still + [change for change in order if change not in still]:
        if left < SMALLEST_DEPTH:
            break
        both = slice(changes[change], changes[change] + 2)
        was = place[both].copy()
        _displace(place, changes[change], min(left, 1.0), period_s, rng)
        moved[both] = swapped[both] + place[both] - now_s[both]
        rest = share * n - _spoiled(moved, changes).sum()
        if rest > left or rest < -SMALLEST_DEPTH:
            place[both] = was
            moved[both] = swapped[both] + was - now_s[both]
        else:
            left = rest
    times, values = moved_runs(pedal_s, pedal_value, place - now_s, period_s, rng)
    return SpoiledPedal(times, values, float(_spoiled(moved, changes).mean()), n)


def _spoiled(moved_s: NDArray[np.float64], changes: NDArray[np.int64]) -> NDArray[np.float64]:
    """How much each change (n,) is spoiled, 0 to 1: its lift or its press has moved by so much of FULL_SHIFT_S."""
    far = np.append(np.abs(moved_s), 0.0)
    return np.asarray(np.minimum(np.maximum(far[changes], far[changes + 1]) / FULL_SHIFT_S, 1.0))


def _whole(shift_s: NDArray[np.float64], period_s: float) -> NDArray[np.float64]:
    """Shifts rounded to whole periods."""
    return np.asarray(np.round(shift_s / period_s) * period_s)


def _displace(moved: NDArray[np.float64], lift: int, depth: float, period_s: float, rng: np.random.Generator) -> None:
    """Displace one change in place, by the first kind of a drawn order that fits; no stretch becomes longer than the longest."""
    shift = depth * FULL_SHIFT_S if depth < 1.0 else rng.uniform(FULL_SHIFT_S, LONGEST_SHIFT_S)
    periods = shift / period_s
    shift = float(np.floor(periods + rng.random()) if depth < 1.0 else np.ceil(periods)) * period_s
    stretch = np.diff(moved)
    longest = [stretch[(lift + 1) % 2 :: 2].max(initial=0.0), stretch[lift % 2 :: 2].max(initial=0.0)]
    before = moved[lift - 1] if lift else -np.inf
    press = moved[lift + 1] if lift + 1 < moved.size else np.inf
    after = moved[lift + 2] if lift + 2 < moved.size else np.inf
    for strict in (True, False):
        for kind in rng.choice(len(KINDS), len(KINDS), replace=False, p=KIND_WEIGHTS):
            name = KINDS[kind]
            if name == "late":
                gap = min(press - moved[lift], max(np.round(0.1 / period_s), 1.0) * period_s)
                later = (
                    max(np.ceil((moved[lift] + shift + gap - press) / period_s - 1e-9), 0.0) if press < np.inf else 0.0
                )
                new_press = press + later * period_s
                if strict and moved[lift] + shift - before > longest[0]:
                    continue
                if new_press < after - _CLEARANCE_S or np.isinf(press):
                    moved[lift] += shift
                    if not np.isinf(press):
                        moved[lift + 1] = new_press
                    return
            elif name == "early" and moved[lift] - shift > before + _CLEARANCE_S:
                if strict and press - moved[lift] + shift > longest[1]:
                    continue
                moved[lift] -= shift
                return
            elif name == "late press" and not np.isinf(press) and press + shift < after - _CLEARANCE_S:
                if strict and press + shift - moved[lift] > longest[1]:
                    continue
                moved[lift + 1] += shift
                return
