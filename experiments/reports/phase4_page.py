"""Phase 4's page: the targets, dimension by dimension, and what each ingredient was worth."""

from __future__ import annotations

from typing import Any

from keybed.experiments.evaluation.gates import Gate
from keybed.experiments.evaluation.model_names import FINAL_FUSION, PHASE4_BEST_SINGLE
from keybed.experiments.reports import plots
from keybed.experiments.reports.page import Cell, Section, Table, gate_section, number, with_interval
from keybed.experiments.reports.plots import label
from keybed.store.format.vocabulary import DIMENSIONS

Json = Any


def parts(results: Json, gate: Gate) -> tuple[list[str], list[str], list[Section]]:
    """Lead lines, small lines under them, and sections."""
    table = results["specific"][FINAL_FUSION]
    lead = [
        f"Technical: mean specific r {with_interval(results['technical'], 2)}, asked > 0.50.",
        f"Interpretive: musical expression {with_interval(table['musical_expression'], 2)}, asked > 0.35.",
        f"Fusion against the best single modality: {results['gain']['specific']['arithmetic']}; asked ≥ 15 %.",
    ]
    overall = results["overall"]
    below = [
        gate.headline,
        f"Overall interpretation is the mean of the others and counts in no gate: plain r {number(overall['predicted'], 2)} predicted, "
        f"{number(overall['mean_of_seven'], 2)} from the mean of the seven predictions.",
        f"The plan’s literal targets in plain r: {gate.literal_verdict} (literal). After {results['after']['run']} ({results['after']['verdict']}).",
    ]
    judges = {
        FINAL_FUSION: results["specific"][FINAL_FUSION],
        PHASE4_BEST_SINGLE: results["specific"][PHASE4_BEST_SINGLE],
    }
    uncertainty: list[list[Cell]] = [
        [label(d), f"± {number(u['half_width'], 1)}", number(u["coverage"], 2)]
        for d, u in results["uncertainty"]["dimensions"].items()
    ]
    epochs = results["history"]
    curves = {}
    for name in epochs[0]["validation"]:
        curves[name] = [sum(v or 0 for v in e["validation"][name]) / len(e["validation"][name]) for e in epochs]
    sections = [
        gate_section(gate),
        Section(
            "Dimension by dimension",
            ["Specific r with its 95 % interval."],
            [plots.by_dimension(judges, "specific r", "specific r")],
        ),
        Section(
            "What each ingredient was worth",
            [
                "Mean specific r of the same fusion head under every condition; only views that the store holds are listed."
            ],
            [
                plots.forest(
                    [(name.replace(", ", ",\n"), v) for name, v in results["ablations"].items()],
                    "ablations",
                    "mean specific r",
                )
            ],
        ),
        Section(
            "How sure is it?",
            [
                "A band of this half-width around a prediction, sized on validation pieces, should hold the truth in 90 % of the rows; the last column is what it held on pieces never seen."
            ],
            tables=[Table(["dimension", "points of 100", "held"], uncertainty, numeric=(1, 2))],
        ),
        Section(
            "Training",
            ["Concordance on validation rows, mean over seeds."],
            [plots.curves(curves, "validation by epoch", "epoch", "validation CCC")],
        ),
        Section(
            "The plan’s literal r",
            tables=[
                Table(
                    ["dimension", label(FINAL_FUSION), label(PHASE4_BEST_SINGLE)],
                    [
                        [
                            label(d),
                            *[with_interval(results["plain"][n][d], 2) for n in (FINAL_FUSION, PHASE4_BEST_SINGLE)],
                        ]
                        for d in DIMENSIONS
                    ],
                    numeric=(1, 2),
                )
            ],
        ),
    ]
    return lead, below, sections
