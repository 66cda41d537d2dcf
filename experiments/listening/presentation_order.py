"""The order of clips for one rater: practice clips, then all clips shuffled, some of them a second time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keybed.experiments.listening.app.rating_set import Presentation
from keybed.store.counted import counted


def presentations(
    anchors: Sequence[str], clips: Sequence[str], n_repeats: int, rng: np.random.Generator
) -> tuple[Presentation, ...]:
    """One rater's order. Between a clip and its repeat lie at least a third of the clips.

    Raises ValueError for more repeats than a third of the clips.
    """
    n = len(clips)
    if n_repeats > n // 3:
        raise ValueError(
            f"{counted(n_repeats, 'repeat')} of {counted(n, 'clip')}: at most {n // 3}, so that none comes too soon"
        )
    shuffled = [clips[i] for i in rng.permutation(n)]
    again = rng.choice(
        n // 3, size=n_repeats, replace=False
    )  # only early clips are repeated, so that the rater has time to forget them
    at = {int(first): int(rng.integers(first + max(n // 3, 1), n)) for first in again}
    order: list[Presentation] = [Presentation(code, "anchor") for code in anchors]
    for i, code in enumerate(shuffled):
        order.append(Presentation(code, "main"))
        order += [Presentation(shuffled[first], "repeat") for first, after in sorted(at.items()) if after == i]
    return tuple(order)
