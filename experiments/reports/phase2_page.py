"""Phase 2's page: the verdict's arithmetic, what was tested, and the order of the sections."""

from __future__ import annotations

import numpy as np

from keybed.experiments.evaluation import criterion_names as names
from keybed.experiments.evaluation.decimals import number, signed_percent
from keybed.experiments.evaluation.gates import Gate
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.model_names import ALL_HEADS
from keybed.experiments.evaluation.model_selection import most_often
from keybed.experiments.evaluation.phase2_results import Chosen, Phase2Results
from keybed.experiments.reports import phase2_gate_sections as gate_sections
from keybed.experiments.reports import phase2_sections as sections
from keybed.experiments.reports.error_section import error_section
from keybed.experiments.reports.figure import label
from keybed.experiments.reports.first_use import SPECIALISTS, SPECIFIC_R
from keybed.experiments.reports.page import Section, gate_section
from keybed.experiments.reports.piano_section import each_piano, unseen_piano
from keybed.store.counted import counted


def parts(results: Phase2Results, gate: Gate) -> tuple[list[str], list[str], list[Section]]:
    """Lead lines, small lines under them, and sections."""
    return lead(results, gate), below(results, gate), cards(results, gate)


def lead(results: Phase2Results, gate: Gate) -> list[str]:
    """Every criterion that decided, then the arithmetic of the gain."""
    evaluation = results.evaluation
    gain, chosen = evaluation.gain, evaluation.chosen
    if results.store.tiered:
        return [
            gate.headline,
            f"Literal: fusion against the best single modality, plain r: {gain.literal.arithmetic}.",
            "A predictor that knows only the tier (quality band) reaches a mean plain r of "
            f"{number(_mean_floor(evaluation.tier_floor), 3)}.",
        ]
    relative = gain.a.relative
    known = np.isfinite(relative.low)
    ends = f" (95 %: {signed_percent(relative.low)} to {signed_percent(relative.high)})" if known else ""
    fusion = _most(chosen, "fusion").replace("fusion: ", "")
    a, b = (gate.criterion(name).asked(percent=True) for name in (names.GAIN_A, names.GAIN_B))
    return [
        gate.headline,
        f"Fusion ({fusion}) against the best single modality ({_most(chosen, 'single')}), mean {SPECIFIC_R}: "
        f"{gain.a.arithmetic}{ends}; the gate asks {a}.",
        f"Fusion against the {SPECIALISTS}: {gain.b.arithmetic}; the gate asks {b}.",
        f"{evaluation.reading[0].upper()}{evaluation.reading[1:]}.",
    ]


def _most(chosen: Chosen, key: str) -> str:
    """The chosen head in words; where folds chose differently, the most frequent one."""
    same = len({getattr(fold, key) for fold in chosen.each_fold}) == 1
    name = label(getattr(chosen, key))
    return name if same else f"mostly {name}, chosen in each fold"


def below(results: Phase2Results, gate: Gate) -> list[str]:
    """The test rows, and the plan's literal reading."""
    rows, pair = results.evaluation.rows, results.pair
    return [
        f"Test rows: {counted(rows.rows, 'row')} of {counted(rows.pieces, 'piece')} ({rows.how}); {pair.audio} and {pair.midi}, {pair.view} view. "
        "The numbers are mean specific r: what a prediction tells about its dimension beyond the other six.",
        f"The plan’s literal arithmetic (plain r): {results.evaluation.gain.literal.arithmetic} → "
        f"{gate.literal_verdict} (literal). The tier (quality band) alone reaches a plain r of "
        f"{number(_mean_floor(results.evaluation.tier_floor), 2)}.",
    ]


def _mean_floor(floor: dict[str, Interval]) -> float | None:
    known = [v.value for v in floor.values() if np.isfinite(v.value)]
    return sum(known) / len(known) if known else None


def _specialists(chosen: Chosen) -> dict[str, str]:
    """Dimension -> the modality that its specialist has in most folds."""
    return {
        d: label(most_often([fold.specialists[d] for fold in chosen.each_fold]))
        for d in chosen.each_fold[0].specialists
    }


def cards(results: Phase2Results, gate: Gate) -> list[Section]:
    """All sections of the page."""
    models = list(results.evaluation.within_tier)
    heads = [n for n in models if n in ALL_HEADS]
    errors = results.evaluation.errors
    every = [
        sections.specific_r(results, models),
        sections.plain_r(results, models),
        gate_section(gate),
        gate_sections.gain(results, gate),
        gate_sections.difficulty(results, gate),
        gate_sections.ordering(results, gate, heads),
        gate_sections.used(results, gate),
        None if errors is None else error_section(errors, _specialists(results.evaluation.chosen)),
        each_piano(results.each_piano, "specific r"),
        unseen_piano(results.unseen_piano),
        sections.audit(results, models),
        sections.attention(results),
        sections.training(results, heads),
        sections.probe(results),
        sections.spaces(results),
        sections.numbers(results, models),
    ]
    return [card for card in every if card is not None]
