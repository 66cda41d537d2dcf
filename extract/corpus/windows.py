"""How many windows a stretch of music holds."""

from __future__ import annotations

import math

from keybed.extract.config import HOP_S, WINDOW_S


def n_windows(duration_s: float, window_s: float = WINDOW_S, hop_s: float = HOP_S) -> int:
    """floor((duration − window) / hop + 1e-9) + 1; 0 for a recording shorter than a window."""
    return 0 if duration_s < window_s else math.floor((duration_s - window_s) / hop_s + 1e-9) + 1
