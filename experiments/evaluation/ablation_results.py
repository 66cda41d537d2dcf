"""The ablation table of Phase 3 as dataclasses: RUN/ablations.json, and a part of results.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keybed.experiments.evaluation.alignment_measures import Collapse
from keybed.experiments.evaluation.intervals import Interval

ALIGNMENT, BINS, OWN, OWN_BY_BINS = "alignment", "bin within ±1", "own variant", "own variant, bin by bin"
R1, R10, RETENTION, AUC = "R@1", "R@10", "retention", "mismatch AUC"
MEASURES = (ALIGNMENT, BINS, OWN, OWN_BY_BINS, R1, R10, RETENTION, AUC)


@dataclass(frozen=True)
class CodewordUse:
    """used: share of the codewords that any row uses. perplexity: exp of the entropy of their mean weights. per_row: how many."""

    used: float
    perplexity: float
    per_row: float


@dataclass(frozen=True)
class AblationLine:
    """One objective. differences: measure − that of the base, paired; empty for the base.

    collapse, codewords and states are of the first fold and seed, by modality. states: alignment of each encoder state with
    the other modality's clip vectors.
    """

    name: str
    terms: dict[str, Any]
    measures: dict[str, Interval]
    differences: dict[str, Interval]
    collapse: dict[str, Collapse]
    codewords: dict[str, CodewordUse] | None
    states: dict[str, tuple[float, ...]] | None


@dataclass(frozen=True)
class Ablations:
    """All lines on the same rows. chance: of the measures that have one. settings: what every line shares."""

    lines: tuple[AblationLine, ...]
    chance: dict[str, float]
    rows: int
    pieces: int
    folds: int
    seeds: int
    settings: dict[str, Any]
    cpu_s: float
