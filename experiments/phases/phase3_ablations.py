"""Phase 3's ablation table: one projection per term of the alignment objective, each paired with InfoNCE alone.

Lines are trained one after another with the same rows, batches, seeds and epochs. A finished line of a fold is kept in
RUN/ablations/, so an interrupted table continues. The table is written to RUN/ablations.json.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from keybed.experiments.data.features import Features
from keybed.experiments.data.folds import Fold
from keybed.experiments.data.run_folder import write_json
from keybed.experiments.evaluation import ablation_results as names
from keybed.experiments.evaluation import alignment
from keybed.experiments.evaluation.ablation_measures import MeasuredFold, compare_lines, measure_fold
from keybed.experiments.evaluation.ablation_results import AblationLine, Ablations
from keybed.experiments.evaluation.alignment_measures import collapse_measures
from keybed.experiments.evaluation.decimals import number
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.ridge_probe import ridge_on_frames
from keybed.heads.align import AlignConfig, Terms
from keybed.heads.alignment.terms import (
    BLOCKWISE_WEIGHT,
    HARD_NEGATIVE_BETA,
    LOCAL_WEIGHT,
    MISMATCH_SHARE,
    N_TOKENS,
    QUALITY_WEIGHT,
)
from keybed.heads.progress import Listener, named
from keybed.store.counted import counted
from keybed.store.format.rows import Rows

CODEWORDS = 256
BASE = "InfoNCE alone"
LINES: Mapping[str, Terms] = {
    BASE: Terms(),
    "local": Terms(local=LOCAL_WEIGHT),
    "hard negatives": Terms(hard_negatives=HARD_NEGATIVE_BETA),
    "codebook": Terms(codewords=CODEWORDS),
    "tokens": Terms(tokens=N_TOKENS),
    "mismatch": Terms(mismatch=MISMATCH_SHARE),
    "block-wise": Terms(blockwise=BLOCKWISE_WEIGHT),
    "quality": Terms(quality=QUALITY_WEIGHT),
    "tokens + quality": Terms(tokens=N_TOKENS, quality=QUALITY_WEIGHT),
    "local + quality": Terms(local=LOCAL_WEIGHT, quality=QUALITY_WEIGHT),
}
"""Each term alone; tokens and local with quality, which private tokens need and which costs local nothing."""
ABLATIONS = "ablations.json"


def run_ablations(
    features: Features,
    folds: list[Fold],
    config: AlignConfig,
    *,
    fingerprint: str,
    out: Path,
    seeds: int,
    progress: Listener | None,
    lines: Mapping[str, Terms] = LINES,
) -> Ablations:
    """Train and measure all lines. features: with the layers beside the frames where a line has `blockwise`."""
    started = time.process_time()
    config = replace(config, fit=replace(config.fit, seeds=tuple(range(seeds))))
    measured: dict[str, list[list[MeasuredFold]]] = {name: [] for name in lines}
    raw, chances = [], []
    for fold in folds:
        raw.append(ridge_on_frames(features, fold))
        for name, terms in lines.items():
            folder = out / "ablations" / re.sub(r"\W+", "-", name)
            folder.mkdir(parents=True, exist_ok=True)
            of_line = replace(config, terms=terms)
            listener = named(progress, folder.name)
            result = alignment.fit_projections(features, fold, of_line, fingerprint, folder, listener)
            both = [measure_fold(result, features, fold, s) for s in range(seeds)]
            measured[name].append([one for one, _ in both])
        chances.append(both[0][1])
    compared = compare_lines(measured, raw, features.rows)
    tested = np.concatenate([fold.test for fold in folds])
    chance = {name: _mean_of_known(np.concatenate([c[name] for c in chances])) for name in chances[0]}
    results = Ablations(
        lines=tuple(_line(name, terms, measured[name][0][0], *compared[name]) for name, terms in lines.items()),
        chance={**chance, names.AUC: 0.5, names.ALIGNMENT: 0.0},
        rows=len(tested),
        pieces=len(np.unique(features.rows.piece[tested])),
        folds=len(folds),
        seeds=seeds,
        settings={**config.objective.to_json(), "epochs": config.fit.epochs, "batch_rows": config.fit.batch_rows},
        cpu_s=round(time.process_time() - started, 1),
    )
    write_json(out / ABLATIONS, results)
    return results


def _line(
    name: str, terms: Terms, first: MeasuredFold, measures: dict[str, Interval], differences: dict[str, Interval]
) -> AblationLine:
    return AblationLine(
        name, terms.to_json(), measures, differences, collapse_measures(first.embeddings), first.codewords, first.states
    )


def _mean_of_known(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def lines_for(rows: Rows) -> dict[str, Terms]:
    """The lines that a store allows: without those that exchange notes between variants where no segment has two."""
    _, variants = np.unique(rows.segment, return_counts=True)
    return {name: terms for name, terms in LINES.items() if variants.max(initial=0) > 1 or not terms.mismatch}


def print_ablations(console: Console, results: Ablations) -> None:
    """The table, one line per objective."""
    table = Table(
        title=f"Alignment by objective: {counted(results.rows, 'test row')} of {counted(results.pieces, 'piece')}, {counted(results.seeds, 'seed')}",
        box=SIMPLE,
        padding=0,
        pad_edge=False,
        show_edge=False,
    )  # 80 columns hold it
    table.add_column("objective", no_wrap=True)
    for name in names.MEASURES:
        table.add_column(name, justify="right", width=max(4, *map(len, name.split())))
    for line in results.lines:
        table.add_row(line.name, *(number(line.measures[name].value, 2) for name in names.MEASURES))
    table.add_row("chance", *(number(results.chance.get(name), 2) for name in names.MEASURES))
    console.print(table)
