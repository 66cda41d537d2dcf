"""Degradation of windows along seven axes, and the labels of each degraded window."""

from keybed.extract.degrade.curves import CURVES, UNTOUCHED
from keybed.extract.degrade.draw import PROFILES, draw_levels
from keybed.extract.degrade.excerpt import PRE_ROLL_S, Excerpt, PreparedRecording, prepare
from keybed.extract.degrade.parameters import CODE_VERSION, PRISTINE_SINCE, explain, parameters
from keybed.extract.degrade.rated import with_ratings
from keybed.extract.degrade.variant import Variant, make_variant, noise_floor, unlabelled_variant

__all__ = [
    "CODE_VERSION",
    "CURVES",
    "PRE_ROLL_S",
    "PRISTINE_SINCE",
    "PROFILES",
    "UNTOUCHED",
    "Excerpt",
    "PreparedRecording",
    "Variant",
    "draw_levels",
    "explain",
    "make_variant",
    "noise_floor",
    "parameters",
    "prepare",
    "unlabelled_variant",
    "with_ratings",
]
