"""Numbers for people, with a true minus sign."""

from __future__ import annotations

import numpy as np


def number(value: float | None, digits: int = 3) -> str:
    """The value with this many digits after the point; a dash for None and NaN."""
    return "–" if value is None or not np.isfinite(value) else f"{value:.{digits}f}".replace("-", "−")


def signed_percent(share: float) -> str:
    """A share as a percentage with its sign: +12.3 %."""
    return f"{100 * share:+.1f} %".replace("-", "−")
