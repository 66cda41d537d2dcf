"""Phase 3's page: alignment of audio and MIDI embeddings, and heads on aligned features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keybed.experiments.evaluation import criterion_names as names
from keybed.experiments.evaluation.decimals import number
from keybed.experiments.evaluation.gates import Gate
from keybed.experiments.evaluation.model_names import ALL_HEADS, RAW, SINGLES
from keybed.experiments.evaluation.phase3_results import Phase3Results
from keybed.experiments.reports import panels, plots
from keybed.experiments.reports.ablation_section import ablation_section, depth_plot, has_depth
from keybed.experiments.reports.figure import label
from keybed.experiments.reports.first_use import SPECIFIC_R
from keybed.experiments.reports.page import Cell, Section, Table, gate_section, with_interval
from keybed.store.counted import counted


def parts(results: Phase3Results, gate: Gate) -> tuple[list[str], list[str], list[Section]]:
    """Lead lines, small lines under them, and sections."""
    return lead(results, gate), below(results, gate), cards(results, gate)


def lead(results: Phase3Results, gate: Gate) -> list[str]:
    """Every criterion that decided, then alignment, fusion gain and recall among variants."""
    alignment, recall, gain = results.alignment, results.variant_recall, results.gain.aligned
    return [
        gate.headline,
        "Alignment (paired minus unpaired cosine of audio and MIDI embeddings) "
        f"{with_interval(alignment.after, 2)}; the gate asks {gate.criterion(names.ALIGNMENT).asked()}. Before training "
        f"{number(alignment.before.value, 2)}; canonical correlation (CCA, a closed-form linear map) "
        f"{number(alignment.cca.value, 2)}.",
        f"Fusion against the best single modality, raw or aligned, mean {SPECIFIC_R}: {gain.arithmetic}; the gate asks "
        f"{gate.criterion(names.GAIN_ANYWHERE).asked(percent=True)}.",
        f"R@1 of a row's partner among the variants of its segment: {number(recall.after.value, 2)} "
        f"(chance {number(recall.chance, 2)}).",
    ]


def below(results: Phase3Results, gate: Gate) -> list[str]:
    """Retention, and the run before."""
    return [
        f"A ridge probe on the projections keeps {with_interval(results.retention.ratio, 2)} of its mean specific r on the raw "
        "features.",
        f"After {results.after.run} ({results.after.verdict}); fusion gain there: {results.gain.phase2.arithmetic}.",
        *_terms(results.terms),
    ]


def _terms(terms: dict[str, Any]) -> list[str]:
    """The terms that this run's objective has beside InfoNCE."""
    on = [f"{name.replace('_', ' ')} {value:g}" for name, value in terms.items() if value]
    return [f"Terms of the objective beside InfoNCE: {', '.join(on)}."] if on else []


def cards(results: Phase3Results, gate: Gate) -> list[Section]:
    """All sections of the page."""
    points = results.projections_2d
    return [
        gate_section(gate),
        Section(
            "Alignment of audio and MIDI embeddings",
            "Whether the sound of a performance and its played notes are recognised as belonging together.",
            [
                "Embeddings on their two leading principal axes. Blue: audio; orange: MIDI; a thin line joins both of one row. "
                "Shorter lines mean better alignment."
            ],
            [panels.paired_points(points.before, points.after)],
        ),
        _alignment(results),
        *([] if results.depth is None or not has_depth(results.depth) else [_depth(results.depth)]),
        *([] if results.ablations is None else [ablation_section(results.ablations)]),
        _heads(results),
        _retrieval(results),
        _training(results),
    ]


def _alignment(results: Phase3Results) -> Section:
    def row(name: str, values: object) -> list[Cell]:
        return [name, *[with_interval(getattr(values, k), 2) for k in ("before", "after", "cca")]]

    rows = [
        row("alignment", results.alignment),
        row("R@1 among the segment's variants", results.variant_recall),
    ]
    collapse = results.collapse
    for m in SINGLES:
        for key, words in (("effective_rank", "effective rank"), ("uniformity", "uniformity")):
            values = (number(getattr(by_modality[m], key), 2) for by_modality in (collapse.before, collapse.after))
            rows.append([f"{words}, {label(m)}", *values, "–"])
    return Section(
        "Before training, after training, and CCA",
        "How far sound and notes of one performance were brought together, and whether this could be had more simply.",
        [
            "Before: untrained projections. CCA: canonical correlation analysis, the best linear map in closed form, without "
            "contrastive training."
        ],
        tables=[Table(["measure", "before", "after", "CCA"], rows, numeric=(1, 2, 3))],
        wide=True,
    )


def _depth(states: Mapping[str, tuple[float, ...]]) -> Section:
    return Section(
        "Alignment by encoder state",
        "At which depth of the networks the sound of a performance and its notes become comparable.",
        [
            "Each state (hidden layer) of an encoder has a linear map of its own to the shared space. Alignment: paired minus "
            "unpaired cosine with the other modality's clip vector, on test rows, mean of the folds."
        ],
        [depth_plot(states)],
    )


def _heads(results: Phase3Results) -> Section:
    items = [(label(name), results.mean[name]) for name in ALL_HEADS]
    items += [(f"raw {label(name)}", results.mean[f"{RAW}{name}"]) for name in ALL_HEADS]
    compared: list[list[Cell]] = [
        ["best fusion on aligned features, chosen in each fold", with_interval(results.gain.aligned.fusion)],
        ["best single modality, raw or aligned, chosen in each fold", with_interval(results.gain.aligned.base)],
    ]
    return Section(
        "Phase 2’s heads on aligned and on raw features",
        "Whether playing is judged better once sound and notes of a performance were brought together.",
        ["Mean specific r, with the same epochs, seeds and folds."],
        [plots.forest(items, "mean specific r, aligned and raw", "mean specific r")],
        [
            Table(["what the gain compares", "mean specific r"], compared, numeric=(1,)),
            Table(
                ["model", "pairwise accuracy"],
                [[label(name), with_interval(share)] for name, share in results.pairwise.items()],
                caption="Share of pairs of degraded variants put in the right order (chance 0.5), mean of seven dimensions",
                numeric=(1,),
                fold=True,
            ),
        ],
    )


def _retrieval(results: Phase3Results) -> Section:
    rows: list[list[Cell]] = []
    for key, words in (("audio_to_midi", "audio → MIDI"), ("midi_to_audio", "MIDI → audio")):
        for extra, where in (("", "all rows"), ("_same_piece", "same piece")):
            for when in ("before", "after"):
                recall = getattr(getattr(results.retrieval, when), f"{key}{extra}")
                rows.append([f"{words}, {where}", when, *[number(recall[r], 2) for r in ("R@1", "R@5", "R@10")]])
    return Section(
        "Retrieval of the paired row",
        "Given the sound of a passage, how often its own notes are found among many performances, and the reverse.",
        [
            f"R@k: share of {counted(results.retrieval.after.rows, 'row')} of the first fold whose partner in the other modality is among "
            "the k nearest."
        ],
        tables=[Table(["search", "", "R@1", "R@5", "R@10"], rows, numeric=(2, 3, 4))],
    )


def _training(results: Phase3Results) -> Section:
    loss = [-epoch["validation"]["projection"][0] for epoch in results.history]
    return Section(
        "Training of the projections",
        "How the matching of sound and notes improved while it was learnt.",
        [
            f"InfoNCE loss on validation rows after each epoch (lower is better); {results.steps} steps in all; learned "
            f"temperature {number(results.temperature[0], 3)}."
        ],
        [panels.curves({"validation loss": loss}, "validation loss", "epoch", "InfoNCE")],
    )
