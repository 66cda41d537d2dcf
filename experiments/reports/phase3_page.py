"""Phase 3's page: where the two senses met, and whether quality survived the meeting."""

from __future__ import annotations

from typing import Any

from keybed.experiments.evaluation.gates import Gate
from keybed.experiments.evaluation.model_names import FUSIONS, SINGLES
from keybed.experiments.reports import plots
from keybed.experiments.reports.page import Cell, Section, Table, gate_section, number, with_interval
from keybed.experiments.reports.plots import label

Json = Any


def parts(results: Json, gate: Gate) -> tuple[list[str], list[str], list[Section]]:
    """Lead lines, small lines under them, and sections."""
    a, gain, recall = results["alignment"], results["gain"]["aligned"], results["variant_recall"]
    lead = [
        f"Alignment {with_interval(a['after'], 2)}, asked > 0.6; before training {number(a['before']['value'], 2)}, "
        f"a closed-form map (CCA) {number(a['cca']['value'], 2)}.",
        f"Fusion against the best single modality, raw or aligned: {gain['arithmetic']}; asked ≥ 15 %.",
        f"Among a segment’s own variants the right partner comes first in {number(recall['after']['value'], 2)} of the cases "
        f"(chance {number(recall['chance'], 2)}).",
    ]
    below = [
        gate.headline,
        f"A straight line keeps {with_interval(results['retention']['ratio'], 2)} of the quality it reads from the raw features.",
        f"After {results['after']['run']} ({results['after']['verdict']}); fusion gain there: {results['gain']['phase2']['arithmetic']}.",
    ]
    sections = [
        gate_section(gate),
        Section(
            "Two senses in one picture",
            [
                "Blue is the sound, orange the notes; a thin line joins the two views of the same ten seconds. Short lines are what alignment means."
            ],
            [plots.clouds(results["plane"]["before"], results["plane"]["after"])],
        ),
        _alignment(results),
        _heads(results),
        _retrieval(results),
        Section(
            "Training the projections",
            [
                f"Loss on validation rows after each epoch (lower is better); {results['steps']} steps in all; learned temperature {number(results['temperature'][0], 3)}."
            ],
            [
                plots.curves(
                    {"validation loss": [-e["validation"]["projection"][0] for e in results["history"]]},
                    "validation loss",
                    "epoch",
                    "InfoNCE",
                )
            ],
        ),
    ]
    return lead, below, sections


def _alignment(results: Json) -> Section:
    a, recall, spread = results["alignment"], results["variant_recall"], results["spread"]
    rows: list[list[Cell]] = [
        ["alignment", *[with_interval(a[k], 2) for k in ("before", "after", "cca")]],
        ["R@1 among own variants", *[with_interval(recall[k], 2) for k in ("before", "after", "cca")]],
    ]
    for m in SINGLES:
        for key, words in (("effective_rank", "effective rank"), ("uniformity", "uniformity")):
            rows.append(
                [f"{words}, {label(m)}", number(spread["before"][m][key], 2), number(spread["after"][m][key], 2), "–"]
            )
    return Section(
        "Before, after, and the closed-form rival",
        [
            "Untrained projections carry what the two senses share by accident; canonical correlation is what a straight map reaches without any training."
        ],
        tables=[Table(["measure", "before", "after", "CCA"], rows, numeric=(1, 2, 3))],
        wide=True,
    )


def _heads(results: Json) -> Section:
    mean = results["mean"]
    items = [(label(name), mean[name]) for name in (*SINGLES, *FUSIONS)]
    items += [(f"raw {label(name)}", mean[f"raw {name}"]) for name in (*SINGLES, *FUSIONS)]
    return Section(
        "Phase 2’s heads on aligned and on raw features",
        ["Mean specific r; the same epochs, seeds and folds."],
        [plots.forest(items, "mean specific r, aligned and raw", "mean specific r")],
    )


def _retrieval(results: Json) -> Section:
    rows: list[list[Cell]] = []
    for key, words in (("audio_to_midi", "sound → notes"), ("midi_to_audio", "notes → sound")):
        for extra, where in (("", "all rows"), (", same piece", "same piece")):
            for when in ("before", "after"):
                found = results["retrieval"][when][f"{key}{extra}"]
                rows.append([f"{words}, {where}", when, *[number(found[r], 2) for r in ("R@1", "R@5", "R@10")]])
    n = results["retrieval"]["after"]["rows"]
    return Section(
        "Finding the partner",
        [f"How often the right one of {n} is first, in the first five, in the first ten."],
        tables=[Table(["search", "", "R@1", "R@5", "R@10"], rows, numeric=(2, 3, 4))],
    )
