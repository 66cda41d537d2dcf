"""How far heads trained on degradation agree with human ratings, as FINDINGS states it; a test compares the two.

Change it together with the table "Human ratings: PercePiano" in experiments/FINDINGS.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from keybed.store.counted import counted


@dataclass(frozen=True)
class HumanAgreement:
    """mean_r: within-passage r, mean over `questions`; agreeing: of these, how many differ from 0. goal: of mean_r.

    degradation_version: of the heads' training rows. measured: year-month-day. source: the table that holds the numbers.
    """

    mean_r: float
    questions: int
    agreeing: int
    goal: float
    degradation_version: int
    measured: str
    source: str


AGREEMENT = HumanAgreement(
    mean_r=0.08,
    questions=6,
    agreeing=0,
    goal=0.15,
    degradation_version=6,
    measured="2026-11-27",
    source="experiments/FINDINGS.md, Human ratings: PercePiano",
)


COMPARED = HumanAgreement(
    mean_r=0.14,
    questions=6,
    agreeing=3,
    goal=0.15,
    degradation_version=6,
    measured="2026-11-27",
    source="docs/findings-tables.md, Human ratings: PercePiano",
)
"""The same of a difference ridge that reads all performances of a passage; `logmel` and `expressive`, 8,000 rows."""


def compared_in_words(known: HumanAgreement = COMPARED) -> str:
    """What is known of how far compared performances agree with people."""
    return (
        f"A similar ridge on logmel and expressive, which read all performances of a passage, agreed with the human ratings of PercePiano on {known.agreeing} of "
        f"{counted(known.questions, 'question')} (mean r {known.mean_r:.2f} within a passage; degradation version {known.degradation_version}, measured "
        f"{known.measured}; {known.source})."
    )


def agreement_in_words(known: HumanAgreement = AGREEMENT) -> str:
    """A sentence with the number, its date and its source."""
    return (
        f"Heads trained like these agreed with the human ratings of PercePiano on {known.agreeing} of {counted(known.questions, 'question')} "
        f"(mean r {known.mean_r:.2f} within a passage; degradation version {known.degradation_version}, measured {known.measured}; "
        f"{known.source})."
    )
