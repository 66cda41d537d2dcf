"""Performances for tests: real ones thinned to a few, made ones of any kind that Hypothesis thinks of."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from keybed.extract.music.performance import Performance, playable

WINDOW_S = 10.0


def steady(n: int = 120, every_s: float = 0.1, start_s: float = 0.05, velocity: int = 70) -> Performance:
    """Single notes in C major, evenly spaced, no pedal; velocities swell slowly and vary a little."""
    rng = np.random.default_rng(7)
    onset = start_s + every_s * np.arange(n)
    scale = np.array([60, 62, 64, 65, 67, 69, 71, 72])
    swell = 15 * np.sin(2 * np.pi * onset / 12)
    return Performance(
        onset_s=onset,
        offset_s=onset + 0.8 * every_s,
        pitch=scale[rng.integers(0, 8, n)].astype(np.int16),
        velocity=np.clip(velocity + swell + rng.normal(0, 8, n), 1, 127).astype(np.int16),
        pedal_s=np.arange(0.0, n * every_s, 0.5),
        pedal_value=np.where(np.arange(len(np.arange(0.0, n * every_s, 0.5))) % 2, 0, 127).astype(np.int16),
    )


def rubato(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Quavers with louder beats whose tempo sways by a tenth, and the beats."""
    rng = np.random.default_rng(seed)
    k = np.arange(64)
    interval = 0.5 * (1 + 0.1 * np.sin(2 * np.pi * k / 8)) + rng.normal(0, 0.003, 64)
    beat = np.cumsum(interval) - 11.0
    onset = np.sort(np.concatenate([beat, beat[:-1] + np.diff(beat) / 2]))
    return onset, beat


@st.composite
def performances(draw: st.DrawFn) -> Performance:
    """Any playable notes and pedal within 14 s, crowded, sparse or empty."""
    n = draw(st.integers(0, 60))
    span = draw(st.sampled_from([0.05, 1.0, 14.0]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    crowd = draw(st.sampled_from([1, 12, 88]))
    onset = np.round(rng.uniform(0, span, n), draw(st.sampled_from([1, 2, 6])))
    length = rng.choice([0.001, 0.05, 0.5, 20.0], n)
    m = draw(st.integers(0, 40))
    pedal_s = np.round(rng.uniform(0, 14, m), draw(st.sampled_from([1, 6])))
    return playable(
        onset,
        onset + length,
        21 + rng.integers(0, crowd, n) % 88 if draw(st.booleans()) else 108 - rng.integers(0, crowd, n) % 88,
        rng.integers(1, 128, n),
        pedal_s,
        rng.integers(0, 128, m) if draw(st.booleans()) else rng.choice([0, 127], m),
    )
