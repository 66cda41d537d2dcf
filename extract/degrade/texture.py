"""What the notes and the pedal of one recording do by themselves, so that changed notes can be drawn from it.

A length, a gap or a velocity that no player of this piano would leave is a trace of the program and not of a mistake.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.ticks import TICK_S, on_ticks
from keybed.extract.music.chords import CHORD_GAP_S
from keybed.extract.music.performance import Performance

RETURN_QUANTILES = (0.02, 0.25)
"""Key returns (from a release to the next stroke of the key) are drawn from this part of the recording's own."""
RETURN_TOUCHED_QUANTILE = 0.01
"""A key return of a row is drawn anew where it falls below this quantile of the recording's own."""
LEAST_RETURN_S = 0.02
"""Shorter ones of the recording are not drawn."""
SHORTEST_QUANTILES = (0.005, 0.06)
"""The shortest lengths of changed notes are drawn from this part of the recording's own lengths."""
GRAZE_QUANTILES = (0.02, 0.4)
"""Lengths of grazes are drawn from this part of the recording's own lengths."""
USUAL_RETURNS_S = (0.06, 0.07, 0.08, 0.09, 0.1, 0.11)
"""Key returns of recordings that have too few of their own."""
USUAL_SHORTEST_S = (0.03, 0.035, 0.04)
"""Shortest lengths of recordings that have too few notes."""
USUAL_GRAZES_S = (0.05, 0.07, 0.09, 0.11)
"""Lengths of grazes in recordings that have too few notes."""
USUAL_PAIRS = ((0.006, 0.95, 0.85), (-0.006, 1.05, 1.18), (0.011, 0.9, 0.75), (-0.011, 1.1, 1.33), (0.003, 1.0, 1.0))
"""Pairs of recordings that have too few of their own: lag in seconds, ratio of lengths, ratio of velocities."""
FEWEST = 12
"""A recording has too few of something below this number."""
PEDAL_PERIOD_S = 0.0195
"""Time between two events of a moving pedal, in recordings that have too few to tell (a Disklavier's)."""
LONGEST_PEDAL_PERIOD_S = 0.1
"""Pedal events further apart are not of one movement."""
_SMEAR_S = 0.0026


@dataclass(frozen=True, eq=False)
class Texture:
    """Pools of one recording. returns_s, shortest_s, graze_s: seconds.
    least_return_s: a shorter key return is drawn anew. pairs: (k, 3), of two notes of one chord the second's
    lag in seconds and its length and velocity relative to the first. pedal_period_s: seconds between pedal events."""

    returns_s: NDArray[np.float64]
    least_return_s: float
    shortest_s: NDArray[np.float64]
    graze_s: NDArray[np.float64]
    pairs: NDArray[np.float64]
    pedal_period_s: float


def _usual() -> Texture:
    return Texture(
        np.array(USUAL_RETURNS_S),
        USUAL_RETURNS_S[0],
        np.array(USUAL_SHORTEST_S),
        np.array(USUAL_GRAZES_S),
        np.array(USUAL_PAIRS),
        PEDAL_PERIOD_S,
    )


def texture_of(p: Performance) -> Texture:
    """The pools of a recording."""
    length = p.offset_s - p.onset_s
    order = np.lexsort((p.onset_s, p.pitch))
    same = p.pitch[order][1:] == p.pitch[order][:-1]
    returns = (p.onset_s[order][1:] - p.offset_s[order][:-1])[same]
    returns = returns[returns >= LEAST_RETURN_S]
    step = np.diff(p.pedal_s)
    step = step[step <= LONGEST_PEDAL_PERIOD_S]
    # One call per pool of values: each looks through all of them.
    least_return, *of_returns = _quantiles(returns, (RETURN_TOUCHED_QUANTILE, *RETURN_QUANTILES))
    of_lengths = _quantiles(length, (*SHORTEST_QUANTILES, *GRAZE_QUANTILES))
    return Texture(
        returns_s=_part(returns, of_returns, USUAL_RETURNS_S),
        least_return_s=least_return if returns.size >= FEWEST else USUAL_RETURNS_S[0],
        shortest_s=_part(length, of_lengths[:2], USUAL_SHORTEST_S),
        graze_s=_part(length, of_lengths[2:], USUAL_GRAZES_S),
        pairs=_pairs(p),
        pedal_period_s=float(np.median(step)) if step.size >= FEWEST else PEDAL_PERIOD_S,
    )


def _quantiles(values: NDArray[np.float64], shares: tuple[float, ...]) -> list[float]:
    """NaN where there are no values."""
    return [float(q) for q in np.quantile(values, shares)] if values.size else [np.nan] * len(shares)


def _part(values: NDArray[np.float64], limits: list[float], usual: tuple[float, ...]) -> NDArray[np.float64]:
    """The values between two limits in rising order, or the usual ones where there are too few."""
    if values.size < FEWEST:
        return np.array(usual)
    low, high = limits
    inside = values[(values >= low) & (values <= high)]
    return np.sort(inside) if inside.size else np.array([low, high])


def _pairs(p: Performance) -> NDArray[np.float64]:
    first = np.flatnonzero(np.diff(p.onset_s) <= CHORD_GAP_S)
    if first.size < FEWEST:
        return np.array(USUAL_PAIRS)
    a, b = np.concatenate([first, first + 1]), np.concatenate([first + 1, first])
    length, velocity = p.offset_s - p.onset_s, p.velocity.astype(np.float64)
    return np.column_stack([p.onset_s[b] - p.onset_s[a], length[b] / length[a], velocity[b] / velocity[a]])


def drawn_by_note(
    pool: NDArray[np.float64], onset_s: NDArray[np.float64], pitch: NDArray[np.int16]
) -> NDArray[np.float64]:
    """One value of a pool for each note, smeared by a tick of a MIDI file; a note that has not moved draws the same again."""
    tick = np.round(onset_s / TICK_S).astype(np.int64).astype(np.uint64)
    mixed = tick * np.uint64(0x9E3779B97F4A7C15) ^ pitch.astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(32)
    chosen = (mixed % np.uint64(pool.size)).astype(np.int64)
    smear = ((mixed >> np.uint64(40)).astype(np.float64) / 2.0**24 - 0.5) * _SMEAR_S
    return on_ticks(np.maximum(pool[chosen] + smear, TICK_S))


def released_in_time(
    onset_s: NDArray[np.float64], offset_s: NDArray[np.float64], pitch: NDArray[np.int16], texture: Texture
) -> NDArray[np.float64]:
    """Offsets (n,) early enough for the next stroke of the same key, by a key return that the recording has itself.

    Only notes whose key returns later than all but RETURN_TOUCHED_QUANTILE of the recording's do are released earlier. They keep
    a length that the recording has, or half of the time between the two strokes.
    """
    order = np.lexsort((onset_s, pitch))
    on, off, key = onset_s[order], offset_s[order].copy(), pitch[order]
    same = np.flatnonzero(key[1:] == key[:-1])
    between = on[same + 1] - on[same]
    touched = off[same] > on[same + 1] - texture.least_return_s
    same, between = same[touched], between[touched]
    gap = drawn_by_note(texture.returns_s, on[same], key[same])
    least = np.minimum(drawn_by_note(texture.shortest_s, on[same], key[same]), 0.5 * between)
    off[same] = np.minimum(off[same], on[same] + np.maximum(on_ticks(np.maximum(between - gap, least)), TICK_S))
    released = np.empty_like(off)
    released[order] = off
    return released


USUAL_TEXTURE: Texture = _usual()
"""The texture of a recording with too few notes to have one."""
