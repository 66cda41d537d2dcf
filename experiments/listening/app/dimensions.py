"""The eight scales of the rating page, each with words for both ends and a line on what to listen for."""

from __future__ import annotations

from dataclasses import dataclass

from keybed.store.format.vocabulary import DIMENSIONS

LOWEST, HIGHEST = 0, 100


@dataclass(frozen=True)
class Scale:
    """One slider. `low` and `high` anchor its ends; `listen_for` is the help under its title."""

    name: str
    title: str
    low: str
    high: str
    listen_for: str


SCALES = (
    Scale(
        "note_accuracy",
        "Note accuracy",
        "wrong notes all over",
        "no wrong note to be heard",
        "Wrong, added or clashing notes. Rate what you hear, not what you know of the score.",
    ),
    Scale(
        "rhythmic_stability",
        "Rhythmic stability",
        "uneven, stumbling",
        "steady and under control",
        "Evenness of the pulse and of runs and chords. Intended rubato is not a fault.",
    ),
    Scale(
        "articulation_clarity",
        "Articulation",
        "note lengths at random",
        "every length deliberate",
        "Are legato, staccato and releases consistent within a figure?",
    ),
    Scale(
        "pedal_technique",
        "Pedal",
        "blurred or gappy",
        "clean, supports the line",
        "Harmonies that run into each other, or sound cut off by late and missed changes.",
    ),
    Scale(
        "tone_quality",
        "Tone quality",
        "noisy, dull sound",
        "clear, full sound",
        "The sound itself: noise, muffling, how clear the tone is.",
    ),
    Scale(
        "dynamic_range",
        "Dynamics",
        "flat, all one level",
        "rich and well graded",
        "Contrast between notes and voices: accents, voicing, loud against soft.",
    ),
    Scale(
        "musical_expression",
        "Musical expression",
        "no shape to the phrases",
        "phrases breathe and lead on",
        "The long line: does loudness and tempo rise and fall with the phrase?",
    ),
    Scale(
        "overall_interpretation",
        "Overall",
        "not convincing",
        "wholly convincing",
        "All in all, how good is this playing?",
    ),
)

assert tuple(scale.name for scale in SCALES) == DIMENSIONS
