"""The data of one rater's page: scales, length of each clip, practice or not, saved ratings. Nothing of the answer key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from keybed.experiments.listening.app.dimensions import SCALES
from keybed.experiments.listening.app.rating_set import RatingSet
from keybed.experiments.listening.app.ratings import Rating


def session(rating_set: RatingSet, rater: str, saved: Mapping[int, Rating]) -> dict[str, Any]:
    """Plain JSON for the page. Positions count from 1; practice clips are marked, repeats are not."""
    order = rating_set.orders[rater]
    return {
        "set_id": rating_set.set_id,
        "rater": rater,
        "scales": [asdict(scale) for scale in SCALES],
        "clips": [{"seconds": rating_set.seconds[p.clip], "practice": p.role == "anchor"} for p in order],
        "saved": {str(position): rating.to_json() for position, rating in sorted(saved.items())},
    }
