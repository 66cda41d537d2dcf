"""Target levels of a row: one score per dimension is drawn from a tier's band and turned into a level."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.curves import PRISTINE_SCORE, TIER_BANDS, UNTOUCHED, levels_of
from keybed.extract.degrade.row_key import RowKey
from keybed.store.format.vocabulary import AXES, TIER_SHARES, TIERS

PROFILES = ("mixed", "tiered")
"""`mixed`: each dimension draws its own tier. `tiered`: every dimension takes the tier of its row."""
OWN_TIER_PROBABILITY = 0.25
"""Profile `mixed`: probability that a dimension takes the tier of its row; else its tier is drawn by TIER_SHARES."""

_PRISTINE = TIERS.index("pristine")


def draw_scores(seed: int, recording_id: int, start_s: float, tier: int, profile: str) -> NDArray[np.float64]:
    """The seven drawn scores of a row, uniform in the band of each dimension's tier; all 97.5 for a pristine row.

    A drawn score above 97.5 means no degradation; its stored score will be 97.5. ValueError on an unknown profile.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile {profile!r}: choose one of {', '.join(PROFILES)}")
    if tier == _PRISTINE:
        return np.full(len(AXES), PRISTINE_SCORE)
    rng = RowKey(seed, recording_id, start_s, tier).generator("draw")
    own, tier_draw, position = rng.random((3, len(AXES)))
    tiers = np.full(len(AXES), tier)
    if profile == "mixed":
        drawn = np.searchsorted(np.cumsum(TIER_SHARES), tier_draw, side="right").clip(max=len(TIERS) - 1)
        tiers = np.where(own < OWN_TIER_PROBABILITY, tier, drawn)
    low, high = np.array(TIER_BANDS)[tiers].T
    return np.asarray(low + position * (high - low))


def draw_levels(seed: int, recording_id: int, start_s: float, tier: int, profile: str) -> NDArray[np.float32]:
    """Target levels of a row, float32 (8,), in the order of `keybed.store.format.vocabulary.LEVELS`.

    ValueError on an unknown profile.
    """
    if tier == _PRISTINE:
        return UNTOUCHED.copy()
    return levels_of(draw_scores(seed, recording_id, start_s, tier, profile))
