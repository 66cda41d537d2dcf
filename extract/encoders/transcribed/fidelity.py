"""How far a transcription agrees with the notes that were played: what of each kind of mistake survives it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.extract.music.pedal import pedal_at
from keybed.extract.music.performance import SUSTAIN_ON, Performance

TOLERANCE_S = 0.05
"""Largest difference of two onsets of one note: that of MIREX and mir_eval."""
STEP_S = 0.01
MEASURES = (
    "note_f1",
    "note_precision",
    "note_recall",
    "onset_bias_ms",
    "onset_sd_ms",
    "velocity_bias",
    "velocity_sd",
    "length_log_sd",
    "pedal_agreement",
)
"""Notes match with the same key and onsets within TOLERANCE_S. Biases and sds are of (transcribed − played) over matched
notes; of the log of the lengths over those whose key is let go in the window while the pedal is up. `pedal_agreement` is the
share of 10 ms steps in which both pedals are down or both up. NaN where nothing can be measured."""


def fidelity(transcribed: Performance, played: Performance, window_s: float) -> NDArray[np.float32]:
    """MEASURES of a transcription against the notes that were played, float32; both in window time."""
    ours, theirs = (np.flatnonzero((p.onset_s >= 0) & (p.onset_s < window_s)) for p in (transcribed, played))
    pairs = np.array(_matched(transcribed, ours, played, theirs), np.intp).reshape(-1, 2)
    a, b = pairs.T
    precision, recall = (len(pairs) / n.size if n.size else np.nan for n in (ours, theirs))
    n_both = ours.size + theirs.size
    onset_ms = 1000 * (transcribed.onset_s[a] - played.onset_s[b])
    velocity = transcribed.velocity[a].astype(np.float64) - played.velocity[b]
    let_go_s = played.offset_s[b]
    dry = (let_go_s < window_s) & (pedal_at(played.pedal_s, played.pedal_value, let_go_s) < SUSTAIN_ON)
    lengths = (p.offset_s[index] - p.onset_s[index] for p, index in ((transcribed, a[dry]), (played, b[dry])))
    log_ratio = np.subtract(*(np.log(np.maximum(length_s, 1e-3)) for length_s in lengths))
    steps_s = np.arange(0, window_s, STEP_S)
    down = (pedal_at(p.pedal_s, p.pedal_value, steps_s) >= SUSTAIN_ON for p in (transcribed, played))
    measured = (
        2 * len(pairs) / n_both if n_both else np.nan,
        precision,
        recall,
        *_mean_and_sd(onset_ms),
        *_mean_and_sd(velocity),
        _mean_and_sd(log_ratio)[1],
        np.mean(np.equal(*down)),
    )
    return np.array(measured, np.float32)


def _mean_and_sd(values: NDArray[np.float64]) -> tuple[float, float]:
    return (float(values.mean()), float(values.std())) if values.size else (np.nan, np.nan)


def _matched(a: Performance, of_a: NDArray[np.intp], b: Performance, of_b: NDArray[np.intp]) -> list[tuple[int, int]]:
    """Pairs (note of a, note of b), the most that are possible: per key, each with the first partner that is left."""
    pairs = []
    for key in np.intersect1d(a.pitch[of_a], b.pitch[of_b]):
        left, right = (notes[p.pitch[notes] == key].tolist() for p, notes in ((a, of_a), (b, of_b)))
        i = j = 0
        while i < len(left) and j < len(right):
            apart_s = a.onset_s[left[i]] - b.onset_s[right[j]]
            if abs(apart_s) <= TOLERANCE_S:
                pairs.append((left[i], right[j]))
                i, j = i + 1, j + 1
            elif apart_s < 0:
                i += 1
            else:
                j += 1
    return pairs
