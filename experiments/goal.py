"""The line that every benchmark prints for a goal: measured value, target, PASS or FAIL."""

from __future__ import annotations

import re
from typing import Literal


def goal_line(name: str, measured: float, target: float, kind: Literal["at least", "at most"]) -> str:
    """`GOAL name measured=… target=… PASS|FAIL`, readable by programs; spaces in the name become underscores.

    A measured NaN fails.
    """
    passed = measured >= target if kind == "at least" else measured <= target
    word = re.sub(r"\W+", "_", name).strip("_")
    return f"GOAL {word} measured={measured:.4g} target={target:.4g} {'PASS' if passed else 'FAIL'}"
