"""Phase 2's page: what the verdict rests on, in the order in which one would ask."""

from __future__ import annotations

from typing import Any

from keybed.experiments.evaluation.diagnostics import IN_WORDS
from keybed.experiments.evaluation.gates import Gate
from keybed.experiments.evaluation.model_names import FUSIONS, SINGLES
from keybed.experiments.evaluation.shortcuts import IN_WORDS as SHORTCUT_WORDS
from keybed.experiments.reports import plots
from keybed.experiments.reports.page import Cell, Section, Table, gate_section, number, with_interval
from keybed.experiments.reports.plots import label
from keybed.store.format.vocabulary import AXIS_DIMENSIONS, DIMENSIONS

Json = Any
ORDER_KEYS = (
    "pristine>poor",
    "pristine>moderate",
    "pristine>good",
    "good>poor",
    "pristine>poor, tone alike",
    "pristine>moderate, tone alike",
)
SENSES = {"audio": "sound", "midi": "notes"}
ORDER_ASKED = {
    "pristine>poor": 0.90,
    "pristine>moderate": 0.75,
    "pristine>poor, tone alike": 0.90,
    "pristine>moderate, tone alike": 0.75,
}


def parts(results: Json, gate: Gate) -> tuple[list[str], list[str], list[Section]]:
    """Lead lines, small lines under them, and sections."""
    return lead(results, gate), below(results, gate), sections(results, gate)


def lead(results: Json, gate: Gate) -> list[str]:
    """The verdict's arithmetic."""
    gain, chosen = results["gain"], results["chosen"]
    a = gain["a"]
    if results["store"]["profile"] == "tiered":
        return [
            f"Literal: fusion against the best single modality, plain r: {gain['literal']['arithmetic'].replace('-', '−')}.",
            f"A predictor that knows the tier alone reaches a mean plain r of {number(_mean_floor(results), 3)}.",
        ]
    relative = a["relative"]
    ends = "" if relative["low"] is None else f" (95 %: {_percent(relative['low'])} to {_percent(relative['high'])})"
    fusion, single = (_most(chosen, key) for key in ("fusion", "single"))
    return [
        f"Fusion ({fusion.replace('fusion: ', '')}) against the best single modality ({single}): "
        f"{a['arithmetic'].replace('-', '−')}{ends}; the gate asks ≥ 10 %.",
        f"Against the better modality for each dimension: {gain['b']['arithmetic'].replace('-', '−')}.",
        f"{results['reading'][0].upper()}{results['reading'][1:]}.",
    ]


def _most(chosen: Json, key: str) -> str:
    """The chosen head in words; where folds chose differently, that it is mostly this one."""
    same = len({fold[key] for fold in chosen["each_fold"]}) == 1
    return label(chosen[key]) if same else f"mostly {label(chosen[key])}, chosen in each fold"


def below(results: Json, gate: Gate) -> list[str]:
    """How it was judged, and the plan's literal reading."""
    judged, pair = results["judged"], results["pair"]
    return [
        gate.headline,
        f"Judged: {judged['rows']} rows of {judged['pieces']} pieces ({judged['how']}); {pair['audio']} and {pair['midi']}, "
        f"{pair['view']} view. The numbers are mean specific r: what a judge knows about a dimension beyond all others.",
        f"The plan’s literal arithmetic (plain r): {results['gain']['literal']['arithmetic'].replace('-', '−')} → "
        f"{gate.literal_verdict} (literal). The tier alone reaches a plain r of {number(_mean_floor(results), 2)}.",
    ]


def _mean_floor(results: Json) -> float | None:
    floor = [results["tier_floor"][d]["value"] for d in DIMENSIONS]
    known = [v for v in floor if v is not None]
    return sum(known) / len(known) if known else None


def _percent(value: Json) -> str:
    return "–" if value is None else f"{100 * value:+.1f} %".replace("-", "−")


def sections(results: Json, gate: Gate) -> list[Section]:
    """All cards."""
    names = list(results["specific"])
    heads = [n for n in names if n in (*SINGLES, *FUSIONS)]
    cards = [
        Section(
            "What each head knows, dimension by dimension",
            [
                "Specific r with its 95 % interval: 0 is guessing, 1 is knowing. It counts only what is not explained by the other six scores."
            ],
            [
                plots.by_dimension(
                    {n: results["specific"][n] for n in names}, "specific r by dimension and head", "specific r"
                )
            ],
        ),
        Section(
            "The plain correlation, and what the tier alone would reach",
            [
                "A grey tick marks a predictor that only knows how degraded the row is. A head at the tick has shown nothing of its own there."
            ],
            [
                plots.by_dimension(
                    {n: results["plain"][n] for n in names},
                    "plain r by dimension and head",
                    "Pearson r",
                    floor={d: results["tier_floor"][d]["value"] for d in DIMENSIONS},
                )
            ],
        ),
        gate_section(gate),
        _gain(results),
        _ordering(results, heads),
        _difficulty(results),
        _used(results),
        _audit(results, names),
        _attention(results),
        _spaces(results),
        _probe(results),
        _training(results, heads),
        _numbers(results, names),
    ]
    return [card for card in cards if card is not None]


def _gain(results: Json) -> Section:
    gain = results["gain"]
    items = [
        ("(a) over the best\nsingle modality", gain["a"]["relative"]),
        ("(b) over the\nspecialists", gain["b"]["relative"]),
        ("(c) without\ntone_quality", gain["c"]["relative"]),
        ("literal\n(plain r)", gain["literal"]["relative"]),
    ]
    means = results["mean"]["specific"]
    rows: list[list[Cell]] = [[label(name), with_interval(value)] for name, value in means.items()]
    return Section(
        "Did fusion gain anything?",
        [
            "Relative gain in mean specific r, paired over the same pieces and seeds. (a) without (b) means: complementary, not fused."
        ],
        [plots.forest(items, "fusion gain", "gain, %", threshold=0.10, percent=True)],
        [Table(["judge", "mean specific r"], rows, numeric=(1,))],
    )


def _ordering(results: Json, heads: list[str]) -> Section:
    shown = {n: results["ordering"][n] for n in heads}
    return Section(
        "Which of two versions of the same ten seconds is better?",
        [
            "Share of pairs that each head puts the right way round; ties count half. Orange: what the gate asks of the best fusion. “Tone alike”: the fifth of the pairs where noise is least help."
        ],
        [plots.ordering(shown, ORDER_KEYS, ORDER_ASKED, "ordering accuracy by tier pair")],
    )


def _difficulty(results: Json) -> Section | None:
    difficulty = results["difficulty"]
    if not difficulty["by_decile"]:
        return None
    return Section(
        "Quality, not difficulty",
        [
            "Left: does the best fusion also order hard passages? Right: how far a harder piece alone moves the score of an untouched performance, for one standard deviation of each measure."
        ],
        [plots.difficulty(difficulty["by_decile"], difficulty["slopes"])],
    )


def _used(results: Json) -> Section:
    swap = results["swap_by_dimension"]
    items = {"audio swapped": swap["audio"], "MIDI swapped": swap["midi"]}
    whole = results["swap"]
    text = (
        "One modality is replaced by that of another variant of the same segment; what the best fusion loses shows what it leaned on. "
        f"Over all dimensions: audio {with_interval(whole['audio'])}, MIDI {with_interval(whole['midi'])}; the gate asks ≥ 0.02 of both."
    )
    pictures = [plots.by_dimension(items, "loss of specific r by swapped modality", "specific r lost")]
    gate = results["inside"]["gate"]
    if gate is not None:
        pictures.append(plots.shares(gate, "the gated head's weights"))
    return Section("Are both modalities used?", [text], pictures)


def _audit(results: Json, names: list[str]) -> Section:
    audit = results["audit"]
    rows: list[list[Cell]] = []
    for dimension in AXIS_DIMENSIONS:
        best = audit["best"][dimension]
        row: list[Cell] = [label(dimension), f"{best['name'].replace('_', ' ')} {number(best['value'], 2)}"]
        for name in names:
            beats = audit["beats"][name][dimension]["beats"]
            value = number(results["specific"][name][dimension]["value"], 2)
            row.append(value if beats else {"text": f"{value} ✗", "style": "weak"})
        rows.append(row)
    words = "; ".join(
        f"{name.replace('_', ' ')}: {text}"
        for name, text in SHORTCUT_WORDS.items()
        if name in audit["reach"][DIMENSIONS[0]]
    )
    return Section(
        "Shortcut audit",
        [
            f"Predictors that cannot hear a performance ({words}). ✗: the head does not beat the best of them there, with its interval. "
            "The noise level is no shortcut for tone_quality: it is the label.",
        ],
        tables=[
            Table(
                ["dimension", "best shortcut", *[label(n) for n in names]],
                rows,
                numeric=tuple(range(2, 2 + len(names))),
            )
        ],
        wide=True,
    )


def _attention(results: Json) -> Section | None:
    found = results["inside"]["attention"]
    if found is None:
        return None
    rows: list[list[Cell]] = []
    for key, words in (("audio_to_midi", "sound → notes"), ("midi_to_audio", "notes → sound")):
        each = found[key]
        for metric in ("entropy", "sparsity"):
            rows.append([words, metric, number(each["trained"][metric], 2), number(each["untrained"][metric], 2)])
    return Section(
        "Where cross-attention looks",
        [IN_WORDS["attention_entropy"], IN_WORDS["attention_sparsity"]],
        [
            plots.attention(
                found["audio_to_midi"]["map"], found["midi_to_audio"]["map"], results["store"]["window_s"] or 10.0
            )
        ],
        [Table(["direction", "measure", "trained", "untrained"], rows, numeric=(2, 3))],
    )


def _spaces(results: Json) -> Section:
    s = results["inside"]["spaces"]
    raw = number(s["alignment_raw"], 2) if s["alignment_raw"] is not None else "none: no common coordinates"
    rows: list[list[Cell]] = [
        ["paired − unpaired cosine, raw", raw, IN_WORDS["alignment"]],
        [
            "the same after a closed-form map (CCA)",
            number(s["alignment_cca"], 2),
            "What a straight map fitted on training pieces reaches on other pieces, before any contrastive training.",
        ],
        ["CKA", number(s["cka"], 2), IN_WORDS["cka"]],
    ]
    for m in SINGLES:
        rank = f"{s['effective_rank'][m]:.1f} of {s['channels'][m]}"
        rows.append([f"mean cosine, {SENSES[m]}", number(s["mean_cosine"][m], 2), IN_WORDS["mean_cosine"]])
        rows.append([f"effective rank, {SENSES[m]}", rank, IN_WORDS["effective_rank"]])
    return Section("Two senses, two spaces", tables=[Table(["measure", "value", "in words"], rows, kind="gate")])


def _probe(results: Json) -> Section:
    ridge = results["ridge"]
    series = {f"{m} {results['pair'][m]}": ridge["layers"][results["pair"][m]] for m in SINGLES}
    best = "; ".join(
        f"{name}: state {b['state']}, mean specific r {number(b['mean'])}" for name, b in ridge["best"].items()
    )
    single = all(len(values) == 1 for values in series.values())
    pictures = (
        [] if single else [plots.curves(series, "ridge probe by state", "state of the encoder", "mean specific r")]
    )
    return Section(
        "What a straight line reads from each state",
        [f"Closed-form ridge on each hidden state’s mean and sd over time, chosen on validation. {best}."],
        pictures,
    )


def _training(results: Json, heads: list[str]) -> Section:
    history = results["history"]
    validation: dict[str, list[Json]] = {}
    for name in heads:
        means = []
        for epoch in history:
            known = [v for v in epoch["validation"][name] if v is not None]
            means.append(sum(known) / len(known) if known else None)
        validation[name] = means
    return Section(
        "Training",
        [
            "Concordance on validation rows after each epoch, mean over seeds; every head had the same data, epochs and seeds."
        ],
        [plots.curves(validation, "validation by epoch", "epoch", "validation CCC")],
    )


def _numbers(results: Json, names: list[str]) -> Section:
    tables = []
    test = results["test_split"]
    if test is not None:
        rows: list[list[Cell]] = [[label(d), *[_pair(test, n, d) for n in names]] for d in DIMENSIONS]
        rows.append(
            [
                "mean",
                *[
                    f"{number(test['plain']['mean'][n]['value'], 2)} · {number(test['specific']['mean'][n]['value'], 2)}"
                    for n in names
                ],
            ]
        )
        tables.append(
            Table(
                ["dimension", *[label(n) for n in names]],
                rows,
                caption=f"Test split only ({test['pieces']} pieces, {test['rows']} rows): Pearson r · specific r",
                numeric=tuple(range(1, 1 + len(names))),
            )
        )
    for metric, words in (
        ("within_tier", "Within-tier r"),
        ("spearman", "Spearman r"),
        ("r2", "R²"),
        ("mae", "Mean absolute error (points of 100)"),
        ("ccc", "Concordance"),
    ):
        source = results["within_tier"] if metric == "within_tier" else results["points"][metric]
        rows = []
        for d in DIMENSIONS:
            cells: list[Cell] = [label(d)]
            for n in names:
                value = source[n][d]
                cells.append(with_interval(value, 2) if isinstance(value, dict) else number(value, 2))
            rows.append(cells)
        tables.append(
            Table(
                ["dimension", *[label(n) for n in names]],
                rows,
                caption=words,
                numeric=tuple(range(1, 1 + len(names))),
                fold=True,
            )
        )
    return Section("All the numbers", tables=tables, wide=True)


def _pair(test: Json, name: str, dimension: str) -> str:
    plain = test["plain"]["table"][name][dimension]["value"]
    specific = test["specific"]["table"][name].get(dimension)
    return f"{number(plain, 2)} · {number(specific['value'], 2) if specific else '–'}"
