"""One row: a window of a recording, degraded on every axis, with its labels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.articulation import audible_releases, vary_lengths
from keybed.extract.degrade.curves import UNTOUCHED
from keybed.extract.degrade.dynamics import Stretches, flatten_loudness, touch_from_elsewhere
from keybed.extract.degrade.excerpt import Excerpt, PreparedRecording
from keybed.extract.degrade.finish import finished
from keybed.extract.degrade.labels import scores
from keybed.extract.degrade.pedal import spoil_pedal
from keybed.extract.degrade.row_key import RowKey
from keybed.extract.degrade.tempo import flatten_tempo
from keybed.extract.degrade.texture import Texture
from keybed.extract.degrade.timing import jitter
from keybed.extract.degrade.tone import Floor, Noise, plan_floor, plan_noise
from keybed.extract.degrade.wrong_notes import add_wrong_notes
from keybed.extract.music.performance import Performance
from keybed.store.format.vocabulary import COVARIATES, DIMENSIONS, LEVELS, TIERS, Status

_PRISTINE = TIERS.index("pristine")
_SEGMENT = -1
"""In place of the tier in the key of what all variants of a segment share."""
ORDER = ("tempo", "expression", "dynamics", "articulation", "timing", "pedal", "notes", "tone")
"""The order in which axes are applied. Each starts from the result of the one before and measures its own change.

So no axis changes another's label. Later side effects are not counted: where timing moves a note onto an earlier note of the
same key, the earlier note is cut short. Note lengths measured on finished notes therefore differ from the articulation label,
by 0.1 points of score on average and by more than 1 point in 3 of 100 rows (346 rows of real music). Tests hold this tolerance.
"""


@dataclass(frozen=True, eq=False)
class Variant:
    """One row: a degraded window with its labels and status.

    performance: window time; notes that sound into the window have negative onsets; the pedal begins with the value in
    force 2 s before it. level (8,), score (8,) float32, valid (8,) bool, difficulty (6,) float32 of the undegraded
    segment. n_notes: onsets in the degraded window. noise: what rendering adds to the waveform (the tone axis).
    Where status is not OK, valid is false everywhere and reason says what failed.
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

    def failed(self, status: Status, reason: str) -> Variant:
        """This row marked as failed after its notes were made: labels kept, no dimension valid."""
        return replace(self, status=status, reason=reason, valid=np.zeros_like(self.valid))


def unlabelled_variant(tier: int, status: Status, reason: str, performance: Performance | None = None) -> Variant:
    """A row that failed before degradation: level, score and difficulty NaN, no dimension valid, 0 notes."""
    return Variant(
        performance=Performance.empty() if performance is None else performance,
        tier=tier,
        level=np.full(len(LEVELS), np.nan, np.float32),
        score=np.full(len(DIMENSIONS), np.nan, np.float32),
        valid=np.zeros(len(DIMENSIONS), bool),
        difficulty=np.full(len(COVARIATES), np.nan, np.float32),
        n_notes=0,
        noise=Noise(),
        status=status,
        reason=reason,
    )


def noise_floor(seed: int, recording_id: int, start_s: float) -> Floor:
    """The noise floor of a rendered segment, which all of its variants have."""
    return plan_floor(RowKey(seed, recording_id, start_s, _SEGMENT).number("floor"))


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
    """Degrade one window to the drawn levels, float32 (8,). A pristine row ignores them: it is only dithered.

    Equal arguments give equal bytes in any process and any order. A window without notes gets status NO_NOTES.
    """
    segment = RowKey(seed, recording_id, start_s, _SEGMENT)
    excerpt = prepared.excerpt(start_s, window_s, segment)
    if excerpt.n_notes == 0:
        reason = f"no note is struck in the window at {start_s:.2f} s"
        return unlabelled_variant(tier, Status.NO_NOTES, reason, excerpt.performance)
    floor = noise_floor(seed, recording_id, start_s)
    if tier == _PRISTINE:
        p = excerpt.performance
        untouched = finished(p.onset_s, p.offset_s, p.pitch, p.velocity, p.pedal_s, p.pedal_value, prepared.texture)
        return _labelled(excerpt, untouched, tier, UNTOUCHED.copy(), Noise(floor=floor), False, window_s)
    drawn = dict(zip(LEVELS, (float(x) for x in level_drawn), strict=True))
    key = RowKey(seed, recording_id, start_s, tier)
    performance, level, tempo_applied = degrade(
        excerpt, prepared.texture, prepared.deviation, prepared.stretches, drawn, window_s, key
    )
    noise = replace(plan_noise(drawn["tone"], key.number("tone")), floor=floor)
    level["tone"] = noise.ratio
    realised = np.array([level[name] for name in LEVELS], np.float32)
    return _labelled(excerpt, performance, tier, realised, noise, tempo_applied, window_s)


def degrade(
    excerpt: Excerpt,
    texture: Texture,
    deviation: NDArray[np.float64],
    stretches: Stretches,
    drawn: dict[str, float],
    window_s: float,
    key: RowKey,
) -> tuple[Performance, dict[str, float], bool]:
    """Apply every axis except tone, in ORDER.

    Returns the performance, the realised level by name (all of LEVELS but tone), and whether the tempo was changed.
    """
    p = excerpt.performance
    in_window = (p.onset_s >= 0) & (p.onset_s < window_s)
    level: dict[str, float] = {}

    time_map, level["tempo"] = flatten_tempo(excerpt.beats, drawn["tempo"], window_s)
    onset, offset, follow_s = p.onset_s, p.offset_s, None
    if time_map is not None:
        onset, offset, follow_s = time_map(onset), time_map(offset), time_map(p.pedal_s)

    rng = key.generator("loudness")
    velocity, level["expression"], level["dynamics"] = flatten_loudness(
        p.velocity,
        excerpt.trend,
        drawn["expression"],
        drawn["dynamics"],
        in_window,
        np.stack([touch_from_elsewhere(deviation, p.n_notes, rng) for _ in range(2)]),
        stretches,
        rng,
    )

    audible = audible_releases(p, window_s)
    offset, level["articulation"] = vary_lengths(
        onset,
        offset,
        p.pitch,
        drawn["articulation"],
        audible if audible.sum() > 1 else in_window,
        key.generator("articulation"),
        texture,
        in_window,
    )
    onset, offset, level["timing"] = jitter(
        onset, offset, p.pitch, drawn["timing"], window_s, key.generator("timing"), texture
    )
    pedal = spoil_pedal(
        p.pedal_s,
        p.pedal_value,
        drawn["pedal"],
        window_s,
        key.generator("pedal"),
        follow_s=follow_s,
        period_s=texture.pedal_period_s,
    )
    level["pedal"] = pedal.share_spoiled
    cleaned = finished(onset, offset, p.pitch, velocity, pedal.pedal_s, pedal.pedal_value, texture)
    wrong = add_wrong_notes(cleaned, drawn["notes"], window_s, key.generator("notes"), texture)
    level["notes"] = wrong.rate
    return wrong.performance, level, time_map is not None


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
