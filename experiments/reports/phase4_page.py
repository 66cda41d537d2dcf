"""Phase 4's page: the plan's targets by dimension, ablations, and conformal intervals."""

from __future__ import annotations

from keybed.experiments.evaluation import criterion_names as names
from keybed.experiments.evaluation.decimals import number
from keybed.experiments.evaluation.gates import Gate
from keybed.experiments.evaluation.model_names import FINAL_FUSION, PHASE4_BEST_SINGLE
from keybed.experiments.evaluation.phase4_results import Phase4Results
from keybed.experiments.reports import panels, plots
from keybed.experiments.reports.error_section import error_section
from keybed.experiments.reports.figure import label
from keybed.experiments.reports.first_use import SPECIFIC_R
from keybed.experiments.reports.page import Cell, Section, Table, gate_section, with_interval
from keybed.experiments.reports.piano_section import unseen_piano
from keybed.store.format.vocabulary import DIMENSIONS

MODELS = (FINAL_FUSION, PHASE4_BEST_SINGLE)


def parts(results: Phase4Results, gate: Gate) -> tuple[list[str], list[str], list[Section]]:
    """Lead lines, small lines under them, and sections."""
    expression = results.specific[FINAL_FUSION]["musical_expression"]
    lead = [
        gate.headline,
        f"Technical dimensions: mean {SPECIFIC_R} {with_interval(results.technical, 2)}; the gate asks "
        f"{gate.criterion(names.TECHNICAL_MEAN).asked()}.",
        f"Interpretive: musical expression {with_interval(expression, 2)}; the gate asks "
        f"{gate.criterion(names.INTERPRETIVE).asked()}.",
        f"Fusion against the best single modality: {results.gain.specific.arithmetic}; the gate asks "
        f"{gate.criterion(names.GAIN_FINAL).asked(percent=True)}.",
    ]
    overall = results.overall
    below = [
        "Overall interpretation is the mean of the other scores and counts in no gate: plain r "
        f"{number(overall.predicted, 2)} predicted directly, {number(overall.mean_of_seven, 2)} from the mean of the seven "
        "other predictions.",
        f"The plan’s literal targets in plain r: {gate.literal_verdict} (literal). After {results.after.run} "
        f"({results.after.verdict}).",
    ]
    return lead, below, cards(results, gate)


def cards(results: Phase4Results, gate: Gate) -> list[Section]:
    """All sections of the page."""
    by_model = {name: results.specific[name] for name in MODELS}
    return [
        gate_section(gate),
        Section(
            "Specific r by dimension",
            "How well the final model hears each quality of the playing, apart from all the others.",
            [
                "Specific r with its 95 % interval, and the mean share of pairs of degraded variants put in the right order (chance 0.5)."
            ],
            [plots.by_dimension(by_model, "specific r", "specific r")],
            [
                Table(
                    ["chosen on validation rows in each fold, raw or aligned", "mean specific r", "pairwise accuracy"],
                    [
                        [label(name), with_interval(results.mean.specific[name]), _pairwise(results, name)]
                        for name in MODELS
                    ],
                    numeric=(1, 2),
                )
            ],
        ),
        *([] if results.errors is None else [error_section(results.errors)]),
        *([] if (piano := unseen_piano(results.unseen_piano)) is None else [piano]),
        _ablations(results),
        _uncertainty(results),
        _training(results),
        _plain(results),
    ]


def _pairwise(results: Phase4Results, name: str) -> str:
    return "–" if results.pairwise is None else with_interval(results.pairwise.mean[name])


def _ablations(results: Phase4Results) -> Section:
    items = [(name.replace(", ", ",\n"), v) for name, v in results.ablations.items()]
    return Section(
        "Ablations",
        "Which part of what the model hears its judgement of playing depends on.",
        ["Mean specific r of the same fusion head under each condition. Only views that the store holds are listed."],
        [plots.forest(items, "ablations", "mean specific r")],
    )


def _uncertainty(results: Phase4Results) -> Section:
    rows: list[list[Cell]] = [
        [label(d), f"± {number(u.half_width, 1)}", number(u.coverage, 2)]
        for d, u in results.uncertainty.dimensions.items()
    ]
    return Section(
        "Conformal intervals",
        "How many points a mark for a performance may be off.",
        [
            "Half-width of an interval around each prediction, in points of 100, set on validation pieces so that it holds the "
            f"score in {100 * results.uncertainty.asked:.0f} % of the rows. Coverage: the share of test rows inside it."
        ],
        tables=[Table(["dimension", "half-width", "coverage"], rows, numeric=(1, 2))],
    )


def _training(results: Phase4Results) -> Section:
    validation = [epoch["validation"] for epoch in results.history]
    curves = {name: [sum(v or 0 for v in e[name]) / len(e[name]) for e in validation] for name in validation[0]}
    return Section(
        "Training",
        "How the judgement of playing improved while the final model learnt.",
        ["Concordance (CCC) on validation rows, mean over seeds."],
        [panels.curves(curves, "validation by epoch", "epoch", "validation CCC")],
    )


def _plain(results: Phase4Results) -> Section:
    rows: list[list[Cell]] = [[label(d), *[with_interval(results.plain[n][d], 2) for n in MODELS]] for d in DIMENSIONS]
    return Section(
        "The plan’s literal r (plain r)",
        "How well each model tells better from worse playing, when a general impression counts too.",
        tables=[Table(["dimension", *map(label, MODELS)], rows, numeric=(1, 2))],
    )
