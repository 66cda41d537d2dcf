"""All numbers of the degradation: the recipe stores them and `keybed info` prints them."""

from __future__ import annotations

import ast
import inspect
import json
from types import ModuleType
from typing import Any

from keybed.extract.degrade import (
    articulation,
    curves,
    dither,
    draw,
    dynamics,
    excerpt,
    labels,
    pedal,
    pedal_runs,
    pedal_swaps,
    texture,
    ticks,
    timing,
    tone,
    variant,
    wrong_notes,
)
from keybed.extract.degrade import row_key as keys
from keybed.extract.music import beats, chords, difficulty, harmony
from keybed.extract.music import loudness_trend as trend

CODE_VERSION = 6
"""Raise it whenever equal parameters would give other notes or labels."""
PRISTINE_SINCE = 4
"""The first version whose pristine rows have the notes of this version's: runs on its stores can still score recordings."""
TRACES = {
    1: "leaves traces that a machine can tell (ticks of the file in pristine rows alone, repeated lengths, notes of exactly 20 ms, "
    "pedal values of 64 and a little, stretched pedal events, no noise floor)",
    2: "leaves traces that a machine can tell (fewer different velocities, long pauses of the pedal, filled gaps between note lengths)",
    3: "moves accents and the arch of loudness to other notes and leaves the range of velocities as it was: its dynamics and "
    "expression are not heard as flat playing",
    4: "leaves a trace that a machine can tell (the notes of chords in a random order)",
    5: "leaves a small trace that a machine can tell (fewer events of the pedal that repeat a value)",
}
"""What is known of older versions: version → how its degraded rows are told from pristine ones, or what its labels do not mean."""


def traces_of(version: int | None) -> str:
    """A warning on the version of the degradation that made a store; empty where nothing is known against it."""
    return f"degradation version {version}: {TRACES[version]}" if version in TRACES else ""


_NUMBERS: dict[str, tuple[ModuleType, tuple[str, ...]]] = {
    "draw": (draw, ("profiles", "own_tier_probability")),
    "excerpt": (excerpt, ("pre_roll_s", "pedal_after_s")),
    "trend": (trend, ("trend_sigma_s", "grid_s")),
    "beats": (
        beats,
        (
            "context_s",
            "frame_s",
            "blur_s",
            "shortest_beat_s",
            "longest_beat_s",
            "likely_beat_s",
            "likely_octaves",
            "tightness",
            "second_tightness",
            "snap_s",
            "chord_s",
            "mean_beats",
            "sure_min_beats",
            "sure_snapped",
            "sure_agreed",
            "sure_max_cv",
            "sure_max_ratio",
            "sure_min_deviation",
        ),
    ),
    "harmony": (harmony, ("major_profile", "minor_profile", "major_scale", "minor_scale", "clashing_intervals")),
    "wrong_notes": (
        wrong_notes,
        (
            "insertion_weight",
            "substitution_weight",
            "omission_weight",
            "stutter_weight",
            "graze_loudness",
            "only_grazes_below",
            "kinds",
            "kind_weights",
            "clashing_share",
            "omitted_share",
            "clash_probability",
            "slips",
            "slip_weights",
            "inner_voice_weight",
            "leap_weight",
            "insertion_loudness",
            "insertion_lengths",
            "asynchrony_s",
            "smear_s",
            "left_over",
            "stutter_min_length_s",
            "stutter_place",
            "stutter_loudness",
            "softest_share",
            "softer_allowed_after",
            "chord_s",
        ),
    ),
    "timing": (
        timing,
        (
            "chord_s",
            "note_to_note_correlation",
            "lags_redrawn_at_ms",
            "interval_exponent",
            "interval_reference_s",
            "interval_factors",
        ),
    ),
    "articulation": (articulation, ("note_to_note_correlation", "least_variety", "tied_s", "tied_again")),
    "pedal": (pedal, ("full_shift_s", "longest_shift_s", "smallest_depth", "kinds", "kind_weights")),
    "pedal_runs": (pedal_runs, ("fewest_to_fill", "longest_run_s")),
    "pedal_swaps": (pedal_swaps, ("least_swap_s", "farthest_swap")),
    "dynamics": (dynamics, ("compressed", "smoothed_notes", "alike", "mean_per_spread", "fewest_notes")),
    "dither": (dither, ("dither_s", "velocity_dither", "largest_dither", "shortest_s", "least_pedal_step_s")),
    "texture": (
        texture,
        (
            "return_quantiles",
            "return_touched_quantile",
            "least_return_s",
            "shortest_quantiles",
            "graze_quantiles",
            "usual_returns_s",
            "usual_shortest_s",
            "usual_grazes_s",
            "usual_pairs",
            "fewest",
            "pedal_period_s",
            "longest_pedal_period_s",
        ),
    ),
    "tone": (
        tone,
        (
            "noise_version",
            "noise_slopes_db_per_octave",
            "colour_corner_hz",
            "band_pass_from_score",
            "widest_band_hz",
            "narrowest_band_hz",
            "band_order",
            "floor_db",
        ),
    ),
    "labels": (
        labels,
        (
            "overall_weights",
            "overall_min_weight",
            "fewest_notes",
            "fewest_lifts",
            "fewest_releases",
            "least_spread",
        ),
    ),
    "difficulty": (difficulty, ("chord_s", "one_hand_semitones", "fewest_beats")),
    "ticks": (ticks, ("tick_s",)),
}
"""Recipe keys: group → (module that holds the constants, their names in lower case).

The keys are part of every recipe. Renaming a module or a constant must not change them.
"""

_CHORD_GAPS = {
    "beats.chord_s": "chord_gap_s",
    "wrong_notes.chord_s": "chord_gap_s",
    "timing.chord_s": "chord_gap_s",
    "difficulty.chord_s": "hand_chord_gap_s",
}
"""Recipe keys whose constants lie in music/chords.py: key → name of the constant in lower case."""


def parameters() -> dict[str, Any]:
    """All numbers as plain JSON: curves with units and sources, and the constants of each group."""
    numbers: dict[str, Any] = {
        "code_version": CODE_VERSION,
        "generator": keys.GENERATOR,
        "order": variant.ORDER,
        "score_anchors": curves.SCORE_ANCHORS,
        "lowest_score": curves.LOWEST_SCORE,
        "tier_bands": curves.TIER_BANDS,
        "curves": {
            name: {"unit": curve.unit, "levels": curve.levels, "source": curve.source}
            for name, curve in curves.CURVES.items()
        },
    }
    for group, (module, names) in _NUMBERS.items():
        numbers[group] = {name: _constant(group, module, name) for name in names}
    plain: dict[str, Any] = json.loads(json.dumps(numbers))
    return plain


def explain() -> dict[str, str]:
    """What each number of `parameters()` means: key such as "timing.interval_exponent" → one sentence. Not in the recipe."""
    sentences = {f"curves.{name}": f"{curve.unit} ({curve.source})" for name, curve in curves.CURVES.items()}
    for group, (module, names) in _NUMBERS.items():
        sentences[group] = (module.__doc__ or "").strip().splitlines()[0]
        described = _descriptions(module)
        sentences |= {f"{group}.{name}": described[name] for name in names if described.get(name)}
    chord_gaps = _descriptions(chords)
    return sentences | {key: chord_gaps[name] for key, name in _CHORD_GAPS.items()}


def _constant(group: str, module: ModuleType, name: str) -> Any:
    shared = _CHORD_GAPS.get(f"{group}.{name}")
    return getattr(chords, shared.upper()) if shared else getattr(module, name.upper())


def _descriptions(module: ModuleType) -> dict[str, str]:
    """Name in lower case → the string after its assignment, for each upper-case constant of a module."""
    described: dict[str, str] = {}
    body = ast.parse(inspect.getsource(module)).body
    for statement, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(statement, ast.Assign):
            continue
        text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
        for target in statement.targets:
            for name in target.elts if isinstance(target, ast.Tuple) else [target]:
                if isinstance(name, ast.Name) and name.id.isupper():
                    described[name.id.lower()] = " ".join(str(text).split())
    return described
