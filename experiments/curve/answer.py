"""The sentence that a curve's report leads with: what the next experiment needs, and whether rows or pieces bind."""

from __future__ import annotations

from collections.abc import Mapping

from keybed.experiments.evaluation.curve_results import BEST_HEAD, Binding, CellResults, RatingCurve
from keybed.experiments.evaluation.decimals import number
from keybed.experiments.evaluation.learning_curve import FARTHEST, Needed
from keybed.store.counted import counted

_IN_WORDS = {"technical": "mean technical specific r", "interpretive": "musical expression"}


def answer(
    largest: CellResults,
    needed: Mapping[str, Mapping[str, Needed]],
    binding: Mapping[str, Binding],
    ratings: RatingCurve | None,
) -> tuple[str, str]:
    """(a word or two for the head of the page, the sentence): about the best head."""
    targets = {group: by_model[BEST_HEAD] for group, by_model in needed.items()}
    bound = binding[BEST_HEAD]
    parts = [
        f"{_IN_WORDS[group]} {number(largest.r[group][BEST_HEAD].value, 2)} {needs(target, largest.segments)}"
        for group, target in targets.items()
    ]
    sentence = (
        f"With {rounded(largest.segments)} training segments of {counted(round(largest.pieces), 'piece')} the best head has "
        f"{' and '.join(parts)}; {bound.words}"
    )
    if ratings is not None:
        sentence += f"; {ratings_in_words(ratings)}"
    missing = [target for target in targets.values() if not target.reached]
    if not missing:
        word = "enough segments"
    elif all(target.segments is not None for target in missing):
        word = "more data" if bound.word == "neither" else f"more {bound.word}"
    else:
        word = "more data alone are not enough"
    return word, f"{sentence}."


def needs(needed: Needed, measured: float) -> str:
    """What Phase 4's threshold needs, with its interval; measured: training segments of the largest set."""
    threshold = number(needed.target, 2)
    if needed.reached:
        return f"(Phase 4 asks {threshold}: reached)"
    beyond = f"more than {rounded(FARTHEST * measured)}"
    point = beyond if needed.segments is None else f"about {rounded(needed.segments)}"
    if needed.low is None:
        return f"(Phase 4 asks {threshold}: segments needed: {beyond})"
    low = rounded(needed.low) if needed.low >= measured else f"under {rounded(measured)}"
    high = beyond if needed.high is None else rounded(needed.high)
    return f"(Phase 4 asks {threshold}: segments needed: {point}, interval {low} to {high})"


def rounded(n: float) -> str:
    """A size with two digits that count: 12,000."""
    return f"{round(n, -max(0, len(str(int(n))) - 2)):,.0f}"


def ratings_in_words(ratings: RatingCurve) -> str:
    """How many rated passages beat zero-shot."""
    ahead, sure = (table[ratings.main_model] for table in (ratings.ahead_from, ratings.beats_from))
    most = counted(ratings.sizes[-1].passages, "rated passage")
    whom = "these heads on people’s ratings"
    if sure is not None:
        return f"a ridge trained on {counted(sure, 'rated passage')} beats {whom}"
    if ahead is not None:
        return f"a ridge trained on {counted(ahead, 'rated passage')} is ahead of {whom}, but up to {most} not surely"
    return f"with up to {most} no ridge is ahead of {whom}"
