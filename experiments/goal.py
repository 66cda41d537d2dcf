"""The one line in which every benchmark says whether a goal is met."""

from __future__ import annotations

import re
from typing import Literal


def goal_line(name: str, measured: float, target: float, kind: Literal["at least", "at most"]) -> str:
    """`GOAL name measured=… target=… PASS|FAIL`, for machines as for people; spaces in the name become underscores.

    A measured NaN fails.
    """
    passed = measured >= target if kind == "at least" else measured <= target
    word = re.sub(r"\W+", "_", name).strip("_")
    return f"GOAL {word} measured={measured:.4g} target={target:.4g} {'PASS' if passed else 'FAIL'}"
