"""The words of a store: splits, tiers, axes, dimensions, covariates and row statuses.

Every other folder imports its names from here, so that each has one spelling.
"""

from __future__ import annotations

from enum import IntEnum

SPLITS = ("train", "validation", "test")

TIERS = ("pristine", "good", "moderate", "poor")

TIER_SHARES = (0.30, 0.30, 0.25, 0.15)
"""The plan's shares, used as weights at training time; the store keeps all four variants of every segment."""

AXES = ("notes", "timing", "articulation", "pedal", "tone", "dynamics", "expression")

LEVELS = (*AXES, "tempo")
"""Columns of `row/level`: one an axis, in the axis's own unit, and the tempo half of expression by itself."""

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
"""Dimension i is judged on axis i; overall_interpretation is the weighted mean of these seven."""

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
"""Difficulty of the pristine segment: the control for "quality, not difficulty"."""

WAVEFORM_MEASURES = ("rms_dbfs", "peak_dbfs", "gain_db")
"""Measured on the finished waveform, for the shortcut audit; gain_db is what loudness normalisation applied."""


class Status(IntEnum):
    """What became of a row; the legend is in the group's attributes, the reason in words in the commit."""

    OK = 0
    NO_NOTES = 1
    SILENT_AUDIO = 2
    AUDIO_UNREADABLE = 3
    AUDIO_TOO_SHORT = 4
    MIDI_UNREADABLE = 5
    NOT_FINITE = 6
    NOT_MADE = 255
