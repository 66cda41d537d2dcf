"""Draw a split for every piece that has none."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

SHARE = 0.10
"""Validation and test each get pieces until they hold this share of the seconds; training gets the others."""
LARGEST_SHARE = 0.25
"""A piece with a larger share of the seconds goes to training where others are left."""


def draw_splits(names: Sequence[str], seconds: Sequence[float], seed: int) -> list[str]:
    """The split of each piece. With fewer than three pieces all train.

    The order in which pieces are drawn depends on their names and the seed alone, so that a corpus that grows keeps most
    of its splits.
    """
    splits = ["train"] * len(names)
    if len(names) < 3:
        return splits
    total = sum(seconds)
    order = sorted(
        range(len(names)),
        key=lambda i: (
            seconds[i] > LARGEST_SHARE * total,
            seconds[i] if seconds[i] > LARGEST_SHARE * total else 0.0,
            hashlib.sha256(f"{seed}:{names[i]}".encode()).digest(),
        ),
    )
    for split, left in (("test", 2), ("validation", 1)):
        held = 0.0
        while len(order) > left and (held == 0.0 or held < SHARE * total):
            if held > 0.0 and seconds[order[0]] > LARGEST_SHARE * total:
                break
            piece = order.pop(0)
            splits[piece], held = split, held + max(seconds[piece], 1e-9)
    return splits
