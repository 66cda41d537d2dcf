"""How expected the pedal's movements are, given the notes: two small networks that were fitted to undegraded playing.

At every step of 20 ms they give the chance that the pedal crosses 64 within the next 60 ms: one network where the pedal is down
and one where it is up, each with a hidden layer. Their input is what the notes do from 1.5 s before to 1.5 s after the step, and
how long the pedal has been where it is. A movement is surprising where its chance was small, and resting where it was large:
surprise is −log2 of the chance of what the pedal did, in bits. Channels, over lifts, presses and steps in turn:

lift_surprise_bits, press_surprise_bits
    Of the largest chance of it in the 60 ms before.
pedal_rest_surprise_bits
    Per step: of resting, where the pedal rests; 0 where it moves.
lift_surprise_mean, press_surprise_mean, pedal_surprise_p50, pedal_surprise_p90
    Contexts as those of `expressive`: means over lifts and over presses, quantiles over both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.excerpt import PRE_ROLL_S
from keybed.extract.encoders.baselines.contexts import Contexts
from keybed.extract.encoders.baselines.events import Events
from keybed.extract.encoders.baselines.pedal_features import BASS_S, BASS_SEMITONES
from keybed.extract.encoders.expected.network import Floats, Network
from keybed.extract.music.pedal import pedal_at
from keybed.extract.music.performance import SUSTAIN_ON, Performance

CHANNELS = ("lift_surprise_bits", "press_surprise_bits", "pedal_rest_surprise_bits")
CONTEXTS = ("lift_surprise_mean", "press_surprise_mean", "pedal_surprise_p50", "pedal_surprise_p90")
STEP_S, STEPS_AHEAD = 0.02, 3
"""A step, in seconds, and the number of steps within which the crossing is expected."""
EDGES_S = (-1.5, -1.0, -0.6, -0.4, -0.25, -0.15, -0.08, -0.03, 0.03, 0.08, 0.15, 0.25, 0.4, 0.6, 1.0, 1.5)
"""Edges, relative to the step, of the spans in which onsets, bass onsets and held keys are counted."""
TIME_EDGES_S = (0.02, 0.05, 0.09, 0.14, 0.2, 0.3, 0.45, 0.7, 1.1, 1.7)
"""Edges of the classes of a time since or until something."""
HARMONY_SPANS_S = (((-1.0, 0.0), (0.0, 1.0)), ((-2.0, -0.1), (-0.1, 0.8)), ((-0.5, 0.0), (0.0, 0.5)))
"""Pairs of spans, before and after, whose pitch classes are compared."""
LARGEST_COUNT, MOST_HELD, LEAST_CHANCE = 3.0, 5, 1e-3
"""Limits of a count in one span and of the number of held keys; a chance counts as at least this, and at most 1 less this."""


class PedalModel(NamedTuple):
    """Log odds of a lift at the steps where the pedal is down, and of a press where it is up, from `Steps.context`."""

    lift: Network
    press: Network

    def chance(self, context: Floats, down: NDArray[np.bool_]) -> Floats:
        """Chance at each step that the pedal crosses 64 within the next STEPS_AHEAD steps, float32 (steps,).

        context, down: as in `Steps`.
        """
        out = np.empty(down.size, np.float32)
        for network, where in ((self.lift, down), (self.press, ~down)):
            out[where] = 1 / (1 + np.exp(-network(context[where])))
        return out


class Steps(NamedTuple):
    """The steps of a window. context: the network's input, float32 (steps, inputs). down, moves: bool (steps,), whether the
    pedal is down, and whether that changes within the next STEPS_AHEAD steps. crossing: numbers of the steps at which it changed."""

    context: Floats
    down: NDArray[np.bool_]
    moves: NDArray[np.bool_]
    crossing: NDArray[np.intp]


N_INPUTS = 5 * (len(TIME_EDGES_S) + 1) + 3 * len(HARMONY_SPANS_S) + MOST_HELD + 1 + 3 * (len(EDGES_S) - 1)
"""Length of a row of `Steps.context`."""


def steps_of(notes: Performance, window_s: float) -> Steps:
    """The steps of a window with what the networks need to know of them."""
    pre, n_steps = round(PRE_ROLL_S / STEP_S), round(window_s / STEP_S)
    n = pre + n_steps
    here = np.arange(pre, n)
    time_s = np.arange(-pre, n_steps, dtype=np.float64) * STEP_S
    value = pedal_at(notes.pedal_s, notes.pedal_value, time_s)
    down = np.asarray(value) >= SUSTAIN_ON
    changed = np.flatnonzero(down[1:] != down[:-1]) + 1
    last = np.searchsorted(changed, here, side="right")
    since_s = (here - np.append(0, changed)[last]) * STEP_S
    after = np.concatenate([down, np.repeat(down[-1:], STEPS_AHEAD)])
    moves = np.any([after[k : k + n] != down for k in range(1, STEPS_AHEAD + 1)], axis=0)
    crossing = changed[changed > pre] - pre

    kept = (notes.onset_s >= -PRE_ROLL_S) & (notes.onset_s < window_s)
    onset_s, pitch = notes.onset_s, notes.pitch.astype(np.int64)
    near = np.abs(onset_s[:, None] - onset_s) < BASS_S
    bass = pitch <= np.where(near, pitch, 200).min(axis=1, initial=200) + BASS_SEMITONES
    at = np.clip(np.floor((onset_s + PRE_ROLL_S) / STEP_S).astype(np.int64), 0, n - 1)
    until = np.clip(np.floor((notes.offset_s + PRE_ROLL_S) / STEP_S).astype(np.int64), 0, n)
    sums = np.zeros((15, n + 1))
    np.cumsum(np.bincount(at[kept], minlength=n), out=sums[0, 1:])
    np.cumsum(np.bincount(at[kept & bass], minlength=n), out=sums[1, 1:])
    held = np.cumsum(np.bincount(at, minlength=n + 1) - np.bincount(until, minlength=n + 1))[:n]
    np.cumsum(held, out=sums[2, 1:])
    classes = np.bincount(at[kept] * 12 + pitch[kept] % 12, minlength=n * 12).reshape(n, 12)
    np.cumsum(classes.T, axis=1, out=sums[3:, 1:])

    edges = np.round(np.array(EDGES_S) / STEP_S).astype(np.int64)
    counts = np.diff(sums[:3, np.clip(here[:, None] + edges, 0, n)], axis=2)
    counts[2] /= np.diff(edges)
    spans = np.minimum(counts, LARGEST_COUNT).transpose(1, 0, 2).reshape(n_steps, -1) / 2
    times = [_around(np.sort(events), time_s[here]) for events in (onset_s, onset_s[bass])]
    classed = [np.digitize(t, TIME_EDGES_S) for pair in times for t in pair] + [np.digitize(since_s, TIME_EDGES_S)]
    in_classes = np.eye(len(TIME_EDGES_S) + 1, dtype=np.float32)[np.array(classed).T].reshape(n_steps, -1)
    in_hands = np.eye(MOST_HELD + 1, dtype=np.float32)[np.minimum(held[here], MOST_HELD)]
    context = np.concatenate([in_classes, _harmony(sums[3:], here), in_hands, spans], axis=1, dtype=np.float32)
    return Steps(context, down[here], moves[here], crossing)


def _around(event_s: NDArray[np.float64], when_s: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Seconds since the last event before each time, and until the next one."""
    events = np.concatenate([[-np.inf], event_s, [np.inf]])
    after = np.searchsorted(events, when_s).clip(1, events.size - 1)
    return [when_s - events[after - 1], events[after] - when_s]


def _harmony(sums_12xN: NDArray[np.float64], here: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each pair of spans: the cosine between their pitch classes, how many classes are new, and semitones across them."""
    n = sums_12xN.shape[1] - 1
    columns = []
    for pair in HARMONY_SPANS_S:
        before, after = (
            sums_12xN[:, np.clip(here + round(end / STEP_S), 0, n)]
            - sums_12xN[:, np.clip(here + round(begin / STEP_S), 0, n)]
            for begin, end in pair
        )
        product = (before**2).sum(axis=0) * (after**2).sum(axis=0)
        was, comes = before > 0, after > 0
        beside = np.roll(was, 1, axis=0).astype(np.int64) + np.roll(was, -1, axis=0)
        columns += [
            (before * after).sum(axis=0) / np.sqrt(product + 1e-9),
            (comes & ~was).sum(axis=0),
            (comes * beside).sum(axis=0),
        ]
    return np.stack(columns, axis=1)


def pedal_surprise(notes: Performance, window_s: float, model: PedalModel) -> tuple[Events, Events, Events]:
    """The channels of lifts, of presses and of steps, one each."""
    steps = steps_of(notes, window_s)
    chance = np.clip(model.chance(steps.context, steps.down).astype(np.float64), LEAST_CHANCE, 1 - LEAST_CHANCE)
    before = np.maximum(steps.crossing[:, None] - np.arange(1, STEPS_AHEAD + 1), 0)
    surprise = -np.log2(chance[before].max(axis=1, initial=LEAST_CHANCE))
    lifted = ~steps.down[steps.crossing]
    time_s = steps.crossing.astype(np.float64) * STEP_S
    at_rest = np.where(steps.moves, 0.0, -np.log2(1 - chance))
    return (
        Events.of(time_s[lifted], [surprise[lifted]]),
        Events.of(time_s[~lifted], [surprise[~lifted]]),
        Events.of(np.arange(chance.size, dtype=np.float64) * STEP_S, [at_rest]),
    )


def surprise_contexts(lifts: Events, presses: Events, n_bins: int, window_s: float) -> NDArray[np.float64]:
    """The CONTEXTS around each bin and in the whole window, (n_bins + 1, 4), from `pedal_surprise`."""
    time_s = np.concatenate([lifts.time_s, presses.time_s])
    order = np.argsort(time_s, kind="stable")
    values = np.concatenate([lifts.values, presses.values])[order]
    means = [Contexts(of.time_s, n_bins, window_s).means(of.values) for of in (lifts, presses)]
    quantiles = Contexts(time_s[order], n_bins, window_s).quantiles(values, [(0, 0.5), (0, 0.9)])
    return np.concatenate([*means, quantiles], axis=1)
