"""The tempo half of expression: beat intervals move towards their 8-beat mean, which removes rubato."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.ticks import on_ticks
from keybed.extract.music.beats import Beats


class TimeMap(NamedTuple):
    """Piecewise linear map of times `old` to `new`; times outside the first and last knot stay."""

    old: NDArray[np.float64]
    new: NDArray[np.float64]

    def __call__(self, when_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map times in seconds."""
        outside = (when_s <= self.old[0]) | (when_s >= self.old[-1])
        return np.where(outside, when_s, on_ticks(np.interp(when_s, self.old, self.new)))


def flatten_tempo(beats: Beats, share_kept: float, window_s: float) -> tuple[TimeMap | None, float]:
    """A time map that keeps `share_kept` of the deviations of the window's beats, and the share realised.

    (None, 1.0) where the beat tracker is unsure or `share_kept` is 1. The first and last beat in the window stay, so no
    note enters or leaves it. Realised: least-squares slope of the deviations after on those before.
    """
    if share_kept == 1.0 or not beats.sure:
        return None, 1.0
    inside = np.flatnonzero((beats.beat_s >= 0) & (beats.beat_s < window_s))
    old = beats.beat_s[inside]
    mean = beats.mean_s[inside[:-1]]
    deviation = np.diff(old) - mean
    interval = mean + share_kept * deviation
    interval *= (old[-1] - old[0]) / interval.sum()
    new = old[0] + np.concatenate([[0.0], np.cumsum(interval)])
    new[-1] = old[-1]
    centred = deviation - deviation.mean()
    after = np.diff(new) - mean
    return TimeMap(old, new), float(np.sum(after * centred) / np.sum(centred**2))
