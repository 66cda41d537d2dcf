"""Move the runs of a pedal curve: a run is the fall or rise of the pedal through 64, from one turn to the next.

A value that comes again within a fall or rise does not end it, so that the whole movement moves.

A moved run keeps its events' spacing and values. The plateau before it is cut short, or goes on as it was: the gap is filled
with the plateau's own last events in reverse, at the recording's own spacing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.dither import DITHER_S, LARGEST_DITHER, in_order
from keybed.extract.degrade.ticks import on_ticks
from keybed.extract.music.pedal import crossings
from keybed.extract.music.performance import SUSTAIN_ON

FEWEST_TO_FILL = 8
"""A plateau of fewer events than this is not repeated; it goes on without events."""
LONGEST_RUN_S = 0.3
"""Events further than this many seconds from the crossing belong to the plateau."""


def moved_runs(
    pedal_s: NDArray[np.float64],
    pedal_value: NDArray[np.int16],
    shift_s: NDArray[np.float64],
    period_s: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.int16]]:
    """Times and values after each crossing's run has moved by shift_s (crossings,).

    Where runs would overlap, events beside the crossings are left out.
    """
    if not shift_s.any():
        return pedal_s, pedal_value
    index, _ = crossings(pedal_value)
    first, last = runs_of(pedal_s, pedal_value, index)
    curve = _Curve(period_s, rng)
    plateau, carried = 0, 0.0
    for k in range(index.size):
        begin = float(pedal_s[first[k]] + shift_s[k])
        curve.extend(pedal_s[plateau : first[k]] + carried, pedal_value[plateau : first[k]], begin)
        if shift_s[k] > carried:
            curve.fill(first[k] - plateau, begin)
        run = slice(first[k], last[k] + 1)
        curve.add_run(pedal_s[run] + shift_s[k], pedal_value[run], int(index[k] - first[k]))
        plateau, carried = int(last[k]) + 1, float(shift_s[k])
    curve.extend(pedal_s[plateau:] + carried, pedal_value[plateau:], np.inf)
    return in_order(on_ticks(np.array(curve.time_s))), np.array(curve.value, np.int16)


def runs_of(
    pedal_s: NDArray[np.float64], pedal_value: NDArray[np.int16], index: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last event of each crossing's run; runs share no event."""
    down = pedal_value >= SUSTAIN_ON
    times, values = pedal_s.tolist(), pedal_value.tolist()
    first, last = index.copy(), index.copy()
    for k, at in enumerate(index.tolist()):
        way = 1 if down[at] else -1
        least = int(last[k - 1]) + 1 if k else 0
        most = int(index[k + 1]) - 1 if k + 1 < index.size else len(values) - 1
        if at == 0:
            continue
        # Scan over repeated values too, but begin and end a run where the value changes.
        begin = at
        while begin > least and begin > 1 and way * (values[begin - 1] - values[begin - 2]) >= 0:
            if times[at] - times[begin - 1] > LONGEST_RUN_S:
                break
            begin -= 1
            if values[begin] != values[begin - 1]:
                first[k] = begin
        end = at
        while end < most and way * (values[end + 1] - values[end]) >= 0 and times[end + 1] - times[at] <= LONGEST_RUN_S:
            end += 1
            if values[end] != values[end - 1]:
                last[k] = end
    return first, last


class _Curve:
    """Pedal events in order of time, while they are put together."""

    def __init__(self, period_s: float, rng: np.random.Generator) -> None:
        self._rng = rng
        self.time_s: list[float] = []
        self.value: list[int] = []
        self._least_step = 0.5 * period_s
        self._fixed = 0
        """Events before this number stay: the crossings and what lies before them."""

    def extend(self, times: NDArray[np.float64], values: NDArray[np.int16], before_s: float) -> None:
        """Add the events of a plateau that lie at least half a period before a time, and after all events so far."""
        after_s = self.time_s[-1] if self.time_s else -np.inf
        kept = (times > after_s) & (times < before_s - self._least_step)
        time_s, value = times[kept].tolist(), values[kept].tolist()
        if time_s:
            self._add(time_s[0], value[0], joined=False)
            self.time_s += time_s[1:]
            self.value += value[1:]

    def fill(self, n: int, until_s: float) -> None:
        """Let the plateau of the last n events go on until a time: its events again, in reverse, and once more."""
        n = min(n, len(self.time_s))
        if n < FEWEST_TO_FILL:
            return
        steps = np.diff(self.time_s[-n:])[::-1].tolist()
        values = self.value[-n:][::-1]
        time_s, at, way = self.time_s[-1], 0, 1
        for _ in range(2 * n):
            if not 0 <= at + way < n:
                way = -way
            time_s += steps[min(at, at + way)]
            at += way
            again = time_s + DITHER_S * float(np.clip(self._rng.standard_normal(), -LARGEST_DITHER, LARGEST_DITHER))
            if time_s >= until_s - self._least_step:
                return
            self._add(again, values[at], joined=True)

    def add_run(self, times: NDArray[np.float64], values: NDArray[np.int16], crossing: int) -> None:
        """Add a run. Events so far that overlap it are taken back, but no crossing; then the run's own first ones go."""
        while len(self.time_s) > self._fixed and self.time_s[-1] > times[0] - self._least_step:
            self.time_s.pop()
            self.value.pop()
        after_s = self.time_s[-1] + self._least_step if self.time_s else -np.inf
        joined = False
        for i, (time_s, value) in enumerate(zip(times.tolist(), values.tolist(), strict=True)):
            if i >= crossing or time_s > after_s:
                self._add(time_s, value, joined=joined)
                joined = True
            if i == crossing:
                self._fixed = len(self.time_s)

    def _add(self, time_s: float, value: int, *, joined: bool) -> None:
        """Add an event; one that repeats the value before it only where the recording has the two beside each other."""
        if joined or not self.value or value != self.value[-1]:
            self.time_s.append(time_s)
            self.value.append(value)
