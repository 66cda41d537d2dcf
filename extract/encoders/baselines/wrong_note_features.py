"""Measures of the `expressive` baseline that wrong notes change: harmony around a note, and what is struck beside it.

Per note (`HARMONY_CHANNELS`), for each onset within the window; docs/expressive.md gives unit, meaning and weakness of each.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.extract.encoders.baselines.contexts import Contexts
from keybed.extract.encoders.baselines.events import Events
from keybed.extract.encoders.baselines.nearness import near_notes
from keybed.extract.music.harmony import local_profiles
from keybed.extract.music.performance import Performance

LOCAL_S = 1.5
"""sd in seconds of the Gaussian over which harmony is taken."""
SURPRISING_BITS = 4.0
"""Surprise above this counts as the tail; an even profile gives 3.58 bits."""
BESIDE_S = 0.035
"""Keys struck at most this many seconds apart are struck beside each other."""
RESTRUCK_S = 0.13
"""A key struck again at most this many seconds after its release is restruck."""
HELD_S = 0.02
"""A key counts as held beside a note where it is down for at least this many seconds after the note's onset."""
HARMONY_CHANNELS = (
    "surprise_bits",
    "surprise_tail_bits",
    "neighbour_support_log2",
    "semitone_beside",
    "tone_beside",
    "seventh_beside",
    "softer_adjacent_log2",
    "shorter_adjacent_log2",
    "soft_and_short_adjacent",
    "softer_foreign_adjacent",
    "semitone_held",
    "seventh_held",
    "surprise_at_semitone_held",
    "restruck",
)
HARMONY_CONTEXTS = (
    "surprise_p75",
    "surprise_p90",
    "surprise_p95",
    "surprise_max",
    "neighbour_support_p90",
    "neighbour_support_max",
)


def harmony_measures(notes: Performance, window_s: float) -> Events:
    """HARMONY_CHANNELS at the onsets within the window."""
    on, pitch = notes.onset_s, notes.pitch.astype(np.int64)
    length = np.maximum(notes.offset_s - on, 1e-3)
    within = (on >= 0) & (on < window_s)
    local = local_profiles(near_notes(notes, LOCAL_S), length, notes.pitch)
    surprise, support = _surprise(local, pitch), _neighbour_support(local, pitch)

    beside = np.abs(on[None, :] - on[:, None]) <= BESIDE_S
    np.fill_diagonal(beside, False)
    note, other = np.nonzero(beside)
    distance = np.abs(pitch[note] - pitch[other])
    adjacent = distance <= 2
    softer, shorter = _octaves_below(notes, length, note[adjacent], other[adjacent])
    semitone_held, seventh_held = _held_beside(notes)
    return Events.of(
        on,
        [
            surprise,
            np.maximum(surprise - SURPRISING_BITS, 0.0),
            support,
            _any(note[distance == 1], on.size),
            _any(note[distance == 2], on.size),
            _any(note[(distance == 11) | (distance == 13)], on.size),
            softer,
            shorter,
            softer * shorter,
            softer * (support > 0),
            semitone_held,
            seventh_held,
            surprise * (semitone_held > 0),
            _restruck(notes),
        ],
    ).where(within)


def harmony_contexts(measured: Events, contexts: Contexts) -> list[NDArray[np.float64]]:
    """HARMONY_CONTEXTS from what `harmony_measures` returned, tables of n_bins + 1 rows."""
    tailed = [HARMONY_CHANNELS.index(name) for name in ("surprise_bits", "neighbour_support_log2")]
    wanted = [(0, 0.75), (0, 0.90), (0, 0.95), (0, 1.0), (1, 0.90), (1, 1.0)]
    return [contexts.quantiles(measured.values[:, tailed], wanted)]


def _surprise(profile: NDArray[np.float64], pitch: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(-np.log2(profile[np.arange(pitch.size), pitch % 12]))


def _neighbour_support(profile: NDArray[np.float64], pitch: NDArray[np.int64]) -> NDArray[np.float64]:
    """log2 of the larger share of the pitch classes a semitone up and down over the note's own."""
    note = np.arange(pitch.size)
    best = np.maximum(profile[note, (pitch + 1) % 12], profile[note, (pitch - 1) % 12])
    return np.asarray(np.log2(best / profile[note, pitch % 12]))


def _any(note: NDArray[np.intp], n: int) -> NDArray[np.float64]:
    """1 for each of n notes that is listed, else 0."""
    listed = np.zeros(n)
    listed[note] = 1.0
    return listed


def _octaves_below(
    notes: Performance, length: NDArray[np.float64], note: NDArray[np.intp], other: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How many octaves (log2, ≥ 0) each note is softer, and shorter (at most 4), than the loudest and longest of its others."""
    loudest, longest = notes.velocity.astype(np.float64), length.copy()
    np.maximum.at(loudest, note, loudest[other])
    np.maximum.at(longest, note, length[other])
    return np.log2(loudest / notes.velocity), np.minimum(np.log2(longest / length), 4.0)


def _held_beside(notes: Performance) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How many keys a semitone, and a major seventh or minor ninth away are held at each onset, or struck with it."""
    on, pitch = notes.onset_s, notes.pitch
    held = (on <= on[:, None] + BESIDE_S) & (notes.offset_s > on[:, None] + HELD_S)
    note, other = np.nonzero(held)
    distance = np.abs(pitch[note] - pitch[other])
    seventh = (distance == 11) | (distance == 13)
    count = [np.bincount(note[chosen], minlength=on.size) for chosen in (distance == 1, seventh)]
    return count[0].astype(np.float64), count[1].astype(np.float64)


def _restruck(notes: Performance) -> NDArray[np.float64]:
    """1 for a note whose key was released at most RESTRUCK_S before it."""
    order = np.lexsort((notes.onset_s, notes.pitch))
    same = notes.pitch[order][1:] == notes.pitch[order][:-1]
    soon = same & (notes.onset_s[order][1:] - notes.offset_s[order][:-1] < RESTRUCK_S)
    restruck = np.zeros(notes.n_notes)
    restruck[order[1:]] = soon
    return restruck
