"""The vocabulary of a store: splits, tiers, axes, dimensions, covariates and row statuses.

A tier is a quality class of a row (a degraded 10 s window). An axis is one kind of degradation, a level its strength in the
axis's own unit, and a dimension what is scored from 0 to 100. All other folders import these names from here.
"""

from __future__ import annotations

from enum import IntEnum

SPLITS = ("train", "validation", "test")

TIERS = ("pristine", "good", "moderate", "poor")

RATED = "rated"
"""The profile of a store of ratings by people: every row is a recording itself, in the tier pristine."""

TIER_SHARES = (0.30, 0.30, 0.25, 0.15)
"""Weights of the tiers in training; the store keeps all four variants of every segment."""

AXES = ("notes", "timing", "articulation", "pedal", "tone", "dynamics", "expression")

LEVELS = (*AXES, "tempo")
"""Columns of `row/level`: one per axis, in the axis's own unit, and one for the tempo part of expression."""

DIMENSIONS = (
    "note_accuracy",
    "rhythmic_stability",
    "articulation_clarity",
    "pedal_technique",
    "tone_quality",
    "dynamic_range",
    "musical_expression",
    "overall_interpretation",
)

AXIS_DIMENSIONS = DIMENSIONS[:7]
"""Dimension i is scored from the level of axis i; overall_interpretation is the weighted mean of these seven."""

TECHNICAL = DIMENSIONS[:4]

INTERPRETIVE = DIMENSIONS[6:]

COVARIATES = (
    "note_rate_hz",
    "polyphony",
    "pitch_range_semitones",
    "hand_span_semitones",
    "tempo_variability",
    "velocity_range",
)
"""Measures of difficulty of the pristine segment, used to show that scores follow quality and not difficulty."""

WAVEFORM_MEASURES = ("rms_dbfs", "peak_dbfs", "gain_db")
"""Measured on the finished waveform: what a level meter reads. gain_db: applied by loudness normalisation."""

MICROPHONE = ("pre_emphasis", "low_cut_hz", "drive_db", "floor_db")
"""Drawn for each segment of a store with rooms. floor_db: noise floor over the signal's rms, which every rendered row has."""


class Status(IntEnum):
    """Whether a row has features, and if not, why. The group's attributes hold these numbers, the commit a sentence."""

    OK = 0
    NO_NOTES = 1
    SILENT_AUDIO = 2
    AUDIO_UNREADABLE = 3
    AUDIO_TOO_SHORT = 4
    MIDI_UNREADABLE = 5
    NOT_FINITE = 6
    NOT_MADE = 255
