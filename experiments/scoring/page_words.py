"""Words and numbers that the page of one recording and the comparison page share."""

from __future__ import annotations

from typing import Any

from keybed.experiments.scoring.human_agreement import agreement_in_words
from keybed.experiments.scoring.results import ModelCard
from keybed.store.counted import counted
from keybed.store.format.vocabulary import DIMENSIONS

NOT_JUDGED = "not judged"


def title(dimension: str) -> str:
    """`Rhythmic stability`."""
    return dimension.replace("_", " ").capitalize()


TITLES = [title(dimension) for dimension in DIMENSIONS]


def clock(seconds: float) -> str:
    """`2:05.0`."""
    tenths = round(10 * seconds)
    return f"{tenths // 600}:{tenths % 600 / 10:04.1f}"


def score_cell(score: float | None, lower: float | None, upper: float | None) -> dict[str, Any]:
    """Score and interval as text."""
    if score is None:
        return {"judged": False, "score": NOT_JUDGED, "interval": ""}
    interval = "" if lower is None or upper is None else f"{lower:.0f}–{upper:.0f}"
    return {"judged": True, "score": f"{score:.0f}", "interval": interval}


def meaning(card: ModelCard, *, some_rendered: bool) -> list[str]:
    """Sentences on what a score can and cannot mean. some_rendered: sound was made from the notes of a recording."""
    lines = [
        "The heads learned from performances that a program degraded: wrong keys, shifted onsets, changed note lengths, late pedal "
        "changes, noise, flattened accents and arches. A score says how far a passage resembles playing degraded in that way. It is "
        "no judgement of a pianist, and no mark.",
        f"It has not been shown that such scores agree with people. {agreement_in_words()}",
        f"An interval is meant to hold the label of {100 * card.coverage:.0f} % of passages of new pieces that the same program "
        "degraded. Real faults differ from these, and the interval says nothing about them.",
        "Compare takes of the same piece rather than different pieces: the music itself moves a score by some points.",
        "Tone quality means how clean the recording is, not touch."
        + (
            " Where the sound was rendered from the notes, it says nothing about the recording."
            if some_rendered
            else ""
        ),
    ]
    if card.audio_source == "recorded":
        lines.append("The heads heard real recordings in training, in which only tone was degraded in the sound.")
    if any(encoder.random for encoder in card.encoders):
        lines.insert(0, "An encoder of this run has random weights: these scores mean nothing.")
    if card.verdict != "GO":
        lines.append(f"The gate of the run ended with {card.verdict}.")
    return lines


def trust(card: ModelCard) -> list[dict[str, str]]:
    """What is known of each dimension's scores on held-out pieces."""
    return [
        {
            "title": title(dimension),
            "r": _number(known.specific_r, 2),
            "covered": f"{_percent(known.covered)} (least piece {_percent(known.least_covered)})",
            "width": _number(known.width, 0),
            "nothing": _number(known.known_nothing_width, 0),
        }
        for dimension in DIMENSIONS
        if (known := card.dimensions.get(dimension)) is not None
    ]


def trust_compared(card: ModelCard) -> list[dict[str, str]]:
    """What is known of compared differences on held-out pieces; empty where nothing is compared."""
    return [
        {
            "title": title(dimension),
            "r": _number(known.specific_r, 2),
            "covered": _percent(known.covered),
            "width": _number(known.width, 0),
        }
        for dimension in DIMENSIONS
        if card.comparing is not None and (known := card.comparing.get(dimension)) is not None
    ]


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def footer(card: ModelCard, hop_s: float) -> list[str]:
    """Where the scores come from."""
    names = ", ".join(f"{encoder.name} ({encoder.source})" for encoder in card.encoders)
    return [
        f"Run {card.run} (Phase {card.phase}, {card.verdict}) · {card.head} on {card.features} features, "
        f"{counted(card.n_seeds, 'seed')} · {names} · windows of {card.window_s:g} s every {hop_s:g} s · store "
        f"{card.store[:16]}… · Keybed {card.keybed_version}",
        f"Trained on {counted(card.train_pieces, 'piece')}; intervals set on {counted(card.validation_pieces, 'piece')}, checked on "
        f"{card.test_pieces}. Specific r: partial correlation of prediction and label given the other six labels.",
        "The same numbers are in score.json and score.csv.",
    ]
