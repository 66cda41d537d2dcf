"""Phase 2's sections behind the gate: fusion gain, ordering, difficulty, use of both modalities."""

from __future__ import annotations

from keybed.experiments.evaluation import criterion_names as names
from keybed.experiments.evaluation.gates import Gate
from keybed.experiments.evaluation.phase2_results import Phase2Results
from keybed.experiments.reports import panels, plots
from keybed.experiments.reports.figure import label
from keybed.experiments.reports.page import Cell, Section, Table, with_interval

ORDER_KEYS = (
    "pristine>poor",
    "pristine>moderate",
    "pristine>good",
    "good>moderate",
    "good>poor",
    "pristine>poor, tone equal",
    "pristine>moderate, tone equal",
    "pristine>poor, tone alike",
    "pristine>moderate, tone alike",
)
"""In the order of the plot; a run has the keys of its version."""


def gain(results: Phase2Results, gate: Gate) -> Section:
    """Relative gains with their intervals, the two numbers of each, and every model's mean."""
    gains, means = results.evaluation.gain, results.evaluation.mean.specific
    items = [
        ("(a) over the best\nsingle modality", gains.a.relative),
        ("(b) over the\nspecialists", gains.b.relative),
        ("(c) without\ntone_quality", gains.c.relative),
        ("literal\n(plain r)", gains.literal.relative),
    ]
    pairwise = results.evaluation.pairwise
    rows: list[list[Cell]] = [
        [label(name), with_interval(value), *([] if pairwise is None else [with_interval(pairwise.mean[name])])]
        for name, value in means.items()
    ]
    head = ["model", "mean specific r", *([] if pairwise is None else ["pairwise accuracy"])]
    compared: list[list[Cell]] = [
        [name.replace("\n", " "), *map(with_interval, (g.fusion, g.base))]
        for (name, _), g in zip(items, (gains.a, gains.b, gains.c, gains.literal), strict=True)
    ]
    threshold = gate.criterion(names.GAIN_A).bound
    return Section(
        "Fusion gain",
        "How much better playing is judged from sound and keys together than from one of them.",
        [
            "Relative gain in mean specific r, paired over the same pieces and seeds. (a) without (b) means: the modalities are "
            "complementary, but fusion adds nothing to picking the better one per dimension."
        ],
        [plots.forest(items, "fusion gain", "gain, %", threshold=threshold, percent=True)],
        [
            Table(
                ["gain", "mean r of the fusion", "mean r compared with"],
                compared,
                caption="Best fusion against each base; both are chosen on validation rows in each fold",
                numeric=(1, 2),
            ),
            Table(head, rows, numeric=(1, 2)),
        ],
    )


def ordering(results: Phase2Results, gate: Gate, heads: list[str]) -> Section:
    """Ordering accuracy by tier pair and head."""
    criteria = {c.name: c for c in gate.criteria}
    asked = {k: criteria[names.ordering(k)].bound for k in ORDER_KEYS if names.ordering(k) in criteria}
    shown = {n: results.evaluation.ordering[n] for n in heads}
    keys = tuple(k for k in ORDER_KEYS if all(k in accuracy for accuracy in shown.values()))
    alike = (
        "“Tone equal”: the pairs whose tone level is exactly equal, or zero in both."
        if any(k.endswith("tone equal") for k in keys)
        else "“Tone alike” (a run before degradation version 2): the fifth of the pairs whose tone scores differ least."
    )
    return Section(
        "Ordering of two variants of one segment",
        "Of two performances of the same passage, how often the better one gets the higher mark.",
        [
            "Share of pairs in which the head scores the better variant higher; ties count half. Orange: the gate’s threshold "
            f"for the best fusion. {alike}"
        ],
        [plots.ordering(shown, keys, asked, "ordering accuracy by tier pair")],
    )


def difficulty(results: Phase2Results, gate: Gate) -> Section | None:
    """Ordering by difficulty, and slopes on difficulty; None without pristine–poor pairs."""
    by_difficulty = results.evaluation.difficulty
    if not by_difficulty.by_decile:
        return None
    order, slope = (gate.criterion(n).bound for n in (names.ordering("pristine>poor"), names.DIFFICULTY))
    return Section(
        "Quality, not difficulty",
        "Whether a hard passage that is played well is still heard as played well.",
        [
            "Left: ordering accuracy of the best fusion, from easy to hard segments. Right: change of the predicted score of a "
            "pristine row per standard deviation of each difficulty measure, in percent of the pristine–poor gap."
        ],
        [panels.difficulty(by_difficulty, order, slope)],
    )


def used(results: Phase2Results, gate: Gate) -> Section:
    """Loss of specific r when one modality is swapped, and the gated head's weights."""
    whole, swap = results.evaluation.swap, results.evaluation.swap_by_dimension
    text = (
        "One modality is replaced by that of another variant of the same segment. The loss of the best fusion shows how much it "
        f"depends on that modality. Over all dimensions: audio {with_interval(whole['audio'])}, MIDI "
        f"{with_interval(whole['midi'])}; the gate asks ≥ {gate.criterion(names.USED['audio']).bound:g} of both."
    )
    by_modality = {"audio swapped": swap["audio"], "MIDI swapped": swap["midi"]}
    pictures = [plots.by_dimension(by_modality, "loss of specific r by swapped modality", "specific r lost")]
    if results.inspection.gate is not None:
        pictures.append(panels.shares(results.inspection.gate, "the gated head's weights"))
    texts = [text]
    if (weights := results.inspection.state_weights) is not None:
        texts.append(
            "The cross-attention head reads a mix of the encoder's states. Before training all weigh alike; a weight says how much "
            "of a state is read, and not how much it helps."
        )
        pictures.append(
            panels.curves(
                {f"{name} states": list(mix) for name, mix in weights.items()},
                "weights of the states",
                "state",
                "weight in the mix",
            )
        )
    return Section(
        "Use of both modalities",
        "How much the judgement suffers when the sound, or the keys, come from another performance of the same passage.",
        texts,
        pictures,
    )
