"""The data of one rater's page: scales, length of each clip, what practice clips show, saved ratings. Nothing of the answer key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from keybed.experiments.listening.app.dimensions import SCALES
from keybed.experiments.listening.app.rating_set import RatingSet
from keybed.experiments.listening.app.ratings import Rating
from keybed.experiments.listening.app.welcome import minutes


def session(rating_set: RatingSet, rater: str, saved: Mapping[int, Rating], *, agreed: bool) -> dict[str, Any]:
    """Plain JSON for the page. Positions count from 1; practice clips are marked, repeats are not.

    agreed: the rater has agreed to the set's text of consent, or the set has none.
    """
    order = rating_set.orders[rater]
    welcome = rating_set.welcome
    return {
        "set_id": rating_set.set_id,
        "rater": rater,
        "scales": [asdict(scale) for scale in SCALES],
        "welcome": {
            "consent": welcome.consent,
            "consent_sha256": welcome.consent_sha256,
            "agreed": agreed,
            "contact": welcome.contact,
            "check": welcome.check,
            "minutes": minutes([rating_set.seconds[p.clip] for p in order]),
        },
        "clips": [
            {
                "seconds": rating_set.seconds[p.clip],
                "practice": p.role == "anchor",
                "shows": rating_set.shows.get(p.clip) if p.role == "anchor" else None,
            }
            for p in order
        ],
        "saved": {str(position): rating.to_json() for position, rating in sorted(saved.items())},
    }
