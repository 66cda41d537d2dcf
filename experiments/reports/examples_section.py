"""The strip of three examples with their sound in the report of Phase 2, 3 and 4."""

from __future__ import annotations

from typing import Any

from keybed.experiments.hearing.examples import REASONS, Example, Examples
from keybed.experiments.hearing.page_files import environment, part
from keybed.experiments.reports.figure import label
from keybed.experiments.reports.page import Section
from keybed.store.counted import counted

STYLE = part("parts.css")
SCRIPT = f"{part('parts.js')}\nKeybed.wire();"
PLAIN = "Three performances to judge by ear: a sure judgement, a wrong one, and one where sound and notes say different things."
WITHOUT_FILE = (
    "This run was made before reports had examples, or without its store. “keybed report RUN --store STORE” chooses them and adds "
    "their sound."
)


def examples_section(examples: Examples | None) -> Section:
    """Three rows to hear; without sound, the reason."""
    title = "Three examples to hear"
    if examples is None:
        return Section(title, PLAIN, [WITHOUT_FILE], wide=True)
    cards = [_card(number, example, examples.model) for number, example in enumerate(examples.examples)]
    n_bytes = sum(3 * len(e.flac) // 4 for e in examples.examples if e.flac)
    text = [
        f"Degraded test rows, predicted by heads that were not trained on their piece. Certain: far from the average prediction of {label(examples.model)}, "
        "with seeds that agree. Wrong: farthest from the score. Divided: the audio head and the MIDI head differ most (tone quality left "
        "out, because notes do not show it). Marked on the roll: what the axis of this dimension changed."
    ]
    if n_bytes:
        n = sum(e.flac is not None for e in examples.examples)
        text.append(
            f"Sound: {counted(n, 'clip')}, FLAC, {n_bytes / 1e6:.1f} MB inside this page. Space plays and pauses."
        )
    if examples.problem:
        missing = "Some rows are without sound" if n_bytes else "Without sound"
        text.append(f"{missing}, because the rows could not be made again: {examples.problem}")
    strip = environment().get_template("strip.html.jinja").render(page={"examples": cards})
    return Section(title, PLAIN, text, [strip], wide=True)


def _card(number: int, example: Example, model: str) -> dict[str, Any]:
    names = {model: "fusion", "audio": "audio alone", "midi": "MIDI alone"}
    predicted = ", ".join(f"{names[name]} {value:.0f}" for name, value in example.predicted.items())
    dimension = label(example.dimension)
    sound = f"example-{number}-sound"
    data = None
    if example.roll is not None:
        data = {"range": example.pitch_range, "rolls": [example.roll], "sounds": [sound] if example.flac else []}
    return {
        "id": f"example-{number}",
        "row": example.row,
        "title": f"{REASONS[example.reason]}: {dimension}",
        "words": f"Row {example.row:,}. Score {example.score:.0f}; predicted: {predicted}.",
        "sentence": example.sentence,
        "place": example.place,
        "others": example.others,
        "flac": example.flac,
        "sound": sound,
        "data": data,
    }
