"""One row: a window of a recording, degraded on every axis, with the labels of what was done."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.articulation import audible_releases, vary_lengths
from keybed.extract.degrade.curves import UNTOUCHED
from keybed.extract.degrade.dynamics import flatten_arch, flatten_dynamics
from keybed.extract.degrade.excerpt import Excerpt, PreparedRecording
from keybed.extract.degrade.labels import scores
from keybed.extract.degrade.pedal import spoil_pedal
from keybed.extract.degrade.row_key import RowKey
from keybed.extract.degrade.tempo import flatten_tempo
from keybed.extract.degrade.timing import jitter
from keybed.extract.degrade.tone import Noise, plan_noise
from keybed.extract.degrade.wrong_notes import add_wrong_notes
from keybed.extract.music.performance import Performance, playable
from keybed.store.format.vocabulary import DIMENSIONS, LEVELS, TIERS, Status

_PRISTINE = TIERS.index("pristine")
ORDER = ("tempo", "expression", "dynamics", "articulation", "timing", "pedal", "notes", "tone")
"""Each axis works on what the one before it left, and measures itself by the change that it made there.

So no axis moves another's label. What one does to another's notes afterwards is not counted: where timing strikes a key again
too early, the stroke before it ends there. Lengths measured on finished notes differ from articulation's label by 0.1 points of
score on average, by more than 1 in 3 of 100 rows (346 rows of real music); tests hold the tolerance.
"""


@dataclass(frozen=True, eq=False)
class Variant:
    """A degraded window and everything that is true of it.

    performance: window time; notes that sound into the window have negative onsets; the pedal begins with the value
    in force 2 s before it. level (8,), score (8,) float32, valid (8,) bool, difficulty (6,) float32 of the untouched
    segment. n_notes: onsets in the window as it is now. noise: what the waveform still needs (tone).
    level, score and difficulty are NaN and valid false where status is not OK.
    """

    performance: Performance
    tier: int
    level: NDArray[np.float32]
    score: NDArray[np.float32]
    valid: NDArray[np.bool_]
    difficulty: NDArray[np.float32]
    n_notes: int
    noise: Noise
    status: Status = Status.OK
    reason: str = ""


def make_variant(
    prepared: PreparedRecording,
    start_s: float,
    window_s: float,
    level_drawn: NDArray[np.float32],
    *,
    seed: int,
    recording_id: int,
    tier: int,
) -> Variant:
    """Degrade one window to the drawn levels (8,); a pristine row is untouched whatever they are.

    The same arguments give the same bytes in any process and order. A window without notes has status NO_NOTES.
    """
    excerpt = prepared.excerpt(start_s, window_s)
    if excerpt.n_notes == 0:
        return _without_notes(excerpt, tier, start_s)
    if tier == _PRISTINE:
        return _labelled(excerpt, excerpt.performance, tier, UNTOUCHED.copy(), Noise(), False, window_s)
    drawn = dict(zip(LEVELS, (float(x) for x in level_drawn), strict=True))
    key = RowKey(seed, recording_id, start_s, tier)
    performance, level, tempo_applied = degrade(excerpt, drawn, window_s, key)
    noise = plan_noise(drawn["tone"], key.number("tone"))
    level["tone"] = noise.ratio
    realised = np.array([level[name] for name in LEVELS], np.float32)
    return _labelled(excerpt, performance, tier, realised, noise, tempo_applied, window_s)


def degrade(
    excerpt: Excerpt, drawn: dict[str, float], window_s: float, key: RowKey
) -> tuple[Performance, dict[str, float], bool]:
    """All axes that touch notes and pedal, in ORDER; returns the levels realised and whether the tempo was changed."""
    p = excerpt.performance
    judged = (p.onset_s >= 0) & (p.onset_s < window_s)
    level: dict[str, float] = {}

    time_map, level["tempo"] = flatten_tempo(excerpt.beats, drawn["tempo"], window_s)
    onset, offset, pedal_s = p.onset_s, p.offset_s, p.pedal_s
    if time_map is not None:
        onset, offset, pedal_s = time_map(onset), time_map(offset), time_map(pedal_s)

    velocity, level["expression"] = flatten_arch(p.velocity, excerpt.trend, drawn["expression"], judged)
    arch_change = velocity - p.velocity
    velocity, level["dynamics"] = flatten_dynamics(velocity, excerpt.trend + arch_change, drawn["dynamics"], judged)

    heard = audible_releases(p, window_s)
    offset, level["articulation"] = vary_lengths(
        onset,
        offset,
        p.pitch,
        drawn["articulation"],
        heard if heard.sum() > 1 else judged,
        key.generator("articulation"),
    )
    onset, offset, level["timing"] = jitter(onset, offset, p.pitch, drawn["timing"], window_s, key.generator("timing"))
    pedalling = spoil_pedal(pedal_s, p.pedal_value, drawn["pedal"], window_s, key.generator("pedal"))
    level["pedal"] = pedalling.share_spoiled
    moved = playable(onset, offset, p.pitch, velocity, pedalling.pedal_s, pedalling.pedal_value)
    errors = add_wrong_notes(moved, drawn["notes"], window_s, key.generator("notes"))
    level["notes"] = errors.rate
    return errors.performance, level, time_map is not None


def _labelled(
    excerpt: Excerpt,
    performance: Performance,
    tier: int,
    level: NDArray[np.float32],
    noise: Noise,
    tempo_applied: bool,
    window_s: float,
) -> Variant:
    return Variant(
        performance=performance,
        tier=tier,
        level=level,
        score=scores(level, excerpt.valid, tempo_applied=tempo_applied),
        valid=excerpt.valid,
        difficulty=excerpt.difficulty,
        n_notes=int(((performance.onset_s >= 0) & (performance.onset_s < window_s)).sum()),
        noise=noise,
    )


def _without_notes(excerpt: Excerpt, tier: int, start_s: float) -> Variant:
    return Variant(
        performance=excerpt.performance,
        tier=tier,
        level=np.full(len(LEVELS), np.nan, np.float32),
        score=np.full(len(DIMENSIONS), np.nan, np.float32),
        valid=np.zeros(len(DIMENSIONS), bool),
        difficulty=excerpt.difficulty,
        n_notes=0,
        noise=Noise(),
        status=Status.NO_NOTES,
        reason=f"no note is struck in the window at {start_s:.2f} s",
    )
