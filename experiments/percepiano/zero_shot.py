"""Zero-shot test: correlations of human ratings with heads that were trained on synthetic labels alone.

Which scale stands for which dimension, and with which sign, was fixed before the ratings were looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.percepiano.reader import Ratings
from keybed.experiments.percepiano.within import Within, interval, pairwise_accuracy
from keybed.store.format.vocabulary import DIMENSIONS

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """A dimension, the scales (from 1) whose mean should rise with it (sign +1) or fall (−1), and a control scale."""

    dimension: str
    scales: tuple[int, ...]
    sign: int = 1
    given: int | None = None

    @property
    def words(self) -> str:
        """The question as tables show it, such as "−5 given 4"."""
        named = ", ".join(map(str, self.scales))
        return f"{'−' if self.sign < 0 else '+'}{named}{f' given {self.given}' if self.given else ''}"


CONFIRMATORY = (
    Question("rhythmic_stability", (1,), -1),
    Question("pedal_technique", (5,), -1),
    Question("pedal_technique", (5,), -1, given=4),
    Question("dynamic_range", (11,)),
    Question("musical_expression", (13, 15, 18)),
    Question("overall_interpretation", (19,)),
)
EXPLORATORY = (
    Question("articulation_clarity", (2,)),
    Question("articulation_clarity", (3,)),
    Question("tone_quality", (7,)),
)


@dataclass(frozen=True)
class Answer:
    """r: positive means agreement. p: one-sided and Holm-corrected where confirmatory, else two-sided and uncorrected.

    with_scores: the same r with score renderings (performances by a notation program) included. pairwise: share of pairs of human
    performances of one passage in the right order (chance 0.5); NaN with a control scale, and in runs of before it was measured.
    """

    JSON_PROPERTIES: ClassVar = ("words",)
    question: Question
    r: Interval
    p: float
    with_scores: float
    confirmatory: bool
    pairwise: float = float("nan")

    @property
    def words(self) -> str:
        """The question as tables show it."""
        return self.question.words


@dataclass(frozen=True, eq=False)
class Agreement:
    """answers: one per question. mean: r, mean over the confirmatory questions. drawn: that mean in each resample."""

    answers: tuple[Answer, ...]
    mean: Interval
    drawn: Floats


def answer_questions(ratings: Ratings, predicted: Floats, *, replicates: int = 2000, seed: int = 0) -> Agreement:
    """Within-passage correlations of predictions (n, 8) with human ratings; the same seed draws the same resamples."""
    humans, everybody = Within(ratings, ratings.human), Within(ratings, np.ones(len(ratings), bool))
    drawn_weights = humans.weights(replicates, seed)
    answers: list[Answer] = []
    values: list[float] = []
    all_drawn: list[Floats] = []
    for questions, confirmatory in ((CONFIRMATORY, True), (EXPLORATORY, False)):
        rows = []
        for question in questions:
            value = _r(humans, ratings, predicted, question, None)
            drawn = np.array([_r(humans, ratings, predicted, question, w) for w in drawn_weights])
            below = (1 + (drawn <= 0).sum()) / (1 + len(drawn))
            p = float(below if confirmatory else min(1.0, 2 * min(below, 1 - below + 1 / (1 + len(drawn)))))
            with_scores = _r(everybody, ratings, predicted, question, None)
            right = _pairwise(ratings, predicted, question)
            rows.append(Answer(question, interval(value, drawn), p, with_scores, confirmatory, right))
            if confirmatory:
                values.append(value)
                all_drawn.append(drawn)
        if confirmatory:
            corrected = holm([row.p for row in rows])
            rows = [replace(a, p=p) for a, p in zip(rows, corrected, strict=True)]
        answers += rows
    drawn_mean = np.mean(all_drawn, axis=0)
    return Agreement(tuple(answers), interval(float(np.mean(values)), drawn_mean), drawn_mean)


def _r(within: Within, ratings: Ratings, predicted: Floats, question: Question, weight: Floats | None) -> float:
    prediction = predicted[within.kept, DIMENSIONS.index(question.dimension)][:, None]
    rating = ratings.rating[within.kept][:, [s - 1 for s in question.scales]].mean(axis=1, keepdims=True)
    r = within.r(prediction, rating, weight)[0]
    if question.given is not None:
        control = ratings.rating[within.kept, question.given - 1][:, None]
        a, b = within.r(prediction, control, weight)[0], within.r(rating, control, weight)[0]
        r = (r - a * b) / np.sqrt(max((1 - a**2) * (1 - b**2), 1e-12))
    return float(question.sign * r)


def _pairwise(ratings: Ratings, predicted: Floats, question: Question) -> float:
    if question.given is not None:
        return float("nan")
    prediction = question.sign * predicted[:, [DIMENSIONS.index(question.dimension)]]
    rating = ratings.rating[:, [s - 1 for s in question.scales]].mean(axis=1, keepdims=True)
    return float(pairwise_accuracy(prediction, rating, ratings.passage, ratings.human)[0])


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction, Scand. J. Stat. 6 (1979)."""
    order = np.argsort(p)
    corrected, largest = np.zeros(len(p)), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = largest
    return [float(x) for x in corrected]
