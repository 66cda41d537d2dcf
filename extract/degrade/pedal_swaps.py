"""Move pedal changes by letting two stretches of the pedal change places: what lies between two movements, with its length.

Every length, pause and event spacing of the recording's pedal is kept; only where in the music they stand is wrong.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.dither import in_order
from keybed.extract.degrade.pedal_runs import runs_of
from keybed.extract.music.pedal import crossings
from keybed.extract.music.performance import SUSTAIN_ON

LEAST_SWAP_S = 0.15
"""Two stretches change places only if their lengths differ by at least this many seconds."""
FARTHEST_SWAP = 6
"""Two stretches that change places have at most this many crossings of 64 between them."""


def swapped_stretches(
    pedal_s: NDArray[np.float64],
    pedal_value: NDArray[np.int16],
    changes: NDArray[np.int64],
    wanted: float,
    full_shift_s: float,
    longest_shift_s: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.int16], NDArray[np.float64]]:
    """Swap stretches at random until the pedal `changes` are displaced by `wanted` in sum, or as near below it as can be.

    changes: numbers of the crossings that are lifts; a displacement of full_shift_s counts 1, less in proportion, and
    none is longer than longest_shift_s. Returns times, values, and how far each crossing has moved (crossings,).
    """
    index, _ = crossings(pedal_value)
    if index.size < 3 or wanted <= 0.0:
        return pedal_s, pedal_value, np.zeros(index.size)
    first, last = runs_of(pedal_s, pedal_value, index)
    # Stretch k lies before crossing k; the pedal is down in it where crossing k is a lift.
    length = [0.0, *(pedal_s[first[1:]] - pedal_s[last[:-1]]).tolist()]
    order = list(range(index.size))
    moved = [0.0] * (index.size + 1)  # one more, for what follows a lift at the end
    is_change = [False] * index.size
    for change in changes.tolist():
        is_change[change] = True
    pairs = [(a, b) for a in range(1, index.size) for b in range(a + 2, min(a + FARTHEST_SWAP, index.size - 1) + 1, 2)]
    done = 0.0

    def spoiled(first: int, end: int) -> float:
        changed = (max(abs(moved[k]), abs(moved[k + 1])) for k in range(first, end) if is_change[k])
        return sum(min(shift / full_shift_s, 1.0) for shift in changed)

    for number in rng.permutation(len(pairs)).tolist():
        a, b = pairs[number]
        shift = length[order[b]] - length[order[a]]
        if abs(shift) < LEAST_SWAP_S or any(abs(moved[k] + shift) > longest_shift_s for k in range(a, b)):
            continue
        before = spoiled(a - 1, b)
        for k in range(a, b):
            moved[k] += shift
        gain = spoiled(a - 1, b) - before
        if gain <= 0.0 or done + gain > wanted + 1e-9:
            for k in range(a, b):
                moved[k] -= shift
            continue
        done += gain
        order[a], order[b] = order[b], order[a]
    if done == 0.0:
        return pedal_s, pedal_value, np.zeros(index.size)
    times, values = _rebuilt(pedal_s, pedal_value, first, last, order)
    return times, values, np.array(moved[:-1])


def _rebuilt(
    pedal_s: NDArray[np.float64],
    pedal_value: NDArray[np.int16],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    order: list[int],
) -> tuple[NDArray[np.float64], NDArray[np.int16]]:
    """The pedal with stretch order[k] before crossing k."""
    times, values = [pedal_s[: first[0]]], [pedal_value[: first[0]].astype(np.int64)]
    begin = float(pedal_s[first[0]])
    for k in range(first.size):
        if k:
            taken = order[k]
            start_s, stop_s = float(pedal_s[last[taken - 1]]), float(pedal_s[first[taken]])
            inner = slice(int(last[taken - 1]) + 1, int(first[taken]))
            if taken == k:
                values.append(pedal_value[inner].astype(np.int64))
            else:
                values.append(_levelled(pedal_s, pedal_value, first, last, taken, k))
            times.append(begin + (pedal_s[inner] - start_s))
            begin += stop_s - start_s
        run = slice(int(first[k]), int(last[k]) + 1)
        times.append(begin + (pedal_s[run] - pedal_s[first[k]]))
        values.append(pedal_value[run].astype(np.int64))
        begin += float(pedal_s[last[k]] - pedal_s[first[k]])
    end = int(last[-1])
    times.append(begin + (pedal_s[end + 1 :] - pedal_s[end]))
    values.append(pedal_value[end + 1 :].astype(np.int64))
    return in_order(np.concatenate(times)), np.concatenate(values).astype(np.int16)


def _levelled(
    pedal_s: NDArray[np.float64],
    pedal_value: NDArray[np.int16],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    taken: int,
    place: int,
) -> NDArray[np.int64]:
    """Values of a stretch, moved so that it begins and ends where the stretch of its new place does."""

    def ends(k: int) -> tuple[float, float]:
        return float(pedal_value[last[k - 1]]), float(pedal_value[first[k] - 1])

    inner = slice(int(last[taken - 1]) + 1, int(first[taken]))
    value = pedal_value[inner].astype(np.float64)
    if not value.size:
        return value.astype(np.int64)
    (here, there), (was, went) = ends(place), ends(taken)
    start_s, stop_s = float(pedal_s[last[taken - 1]]), float(pedal_s[first[taken]])
    along = (pedal_s[inner] - start_s) / max(stop_s - start_s, 1e-9)
    value += (here - was) + along * ((there - went) - (here - was))
    low, high = (SUSTAIN_ON, 127) if was >= SUSTAIN_ON else (0, SUSTAIN_ON - 1)
    return np.clip(np.round(value), low, high).astype(np.int64)
