"""What a row aims at: a score for every dimension, drawn from its tier, turned into levels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.curves import TIER_BANDS, UNTOUCHED, levels_of
from keybed.extract.degrade.row_key import RowKey
from keybed.store.format.vocabulary import AXES, TIER_SHARES, TIERS

PROFILES = ("mixed", "tiered")
OWN_TIER_PROBABILITY = 0.25
"""In `mixed`: how often a dimension takes its row's tier; otherwise its tier is drawn by TIER_SHARES."""

_PRISTINE = TIERS.index("pristine")


def draw_scores(seed: int, recording_id: int, start_s: float, tier: int, profile: str) -> NDArray[np.float64]:
    """The seven drawn scores of a row, uniform in each dimension's tier band; all 97.5 for a pristine row.

    A drawn score above 97.5 aims at no degradation at all, and its stored score will be 97.5.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile {profile!r}: choose one of {', '.join(PROFILES)}")
    if tier == _PRISTINE:
        return np.full(len(AXES), 97.5)
    rng = RowKey(seed, recording_id, start_s, tier).generator("draw")
    own, which, within = rng.random((3, len(AXES)))
    tiers = np.full(len(AXES), tier)
    if profile == "mixed":
        drawn = np.searchsorted(np.cumsum(TIER_SHARES), which, side="right").clip(max=len(TIERS) - 1)
        tiers = np.where(own < OWN_TIER_PROBABILITY, tier, drawn)
    low, high = np.array(TIER_BANDS)[tiers].T
    return np.asarray(low + within * (high - low))


def draw_levels(seed: int, recording_id: int, start_s: float, tier: int, profile: str) -> NDArray[np.float32]:
    """The levels (8,) that a row aims at, ordered as `keybed.store.schema.LEVELS`; ValueError on a wrong profile."""
    if tier == _PRISTINE:
        return UNTOUCHED.copy()
    return levels_of(draw_scores(seed, recording_id, start_s, tier, profile))
