"""Phase 2's sections beside the gate: r by dimension, shortcut audit, attention, feature spaces, probe, training, tables."""

from __future__ import annotations

from collections.abc import Mapping

from keybed.experiments.evaluation.decimals import number
from keybed.experiments.evaluation.diagnostics import IN_WORDS
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.model_names import SINGLES
from keybed.experiments.evaluation.phase2_results import OnTestSplit, Phase2Results
from keybed.experiments.evaluation.shortcuts import IN_WORDS as SHORTCUT_WORDS
from keybed.experiments.reports import panels, plots
from keybed.experiments.reports.figure import label
from keybed.experiments.reports.page import Cell, Section, Table, with_interval
from keybed.store.counted import counted
from keybed.store.format.vocabulary import AXIS_DIMENSIONS, DIMENSIONS

MODALITY = {"audio": "audio", "midi": "MIDI"}
DIRECTIONS = (("audio_to_midi", "audio → MIDI"), ("midi_to_audio", "MIDI → audio"))


def specific_r(results: Phase2Results, models: list[str]) -> Section:
    """Specific r by dimension and head."""
    shown = {name: results.evaluation.specific[name] for name in models}
    return Section(
        "Specific r by dimension and head",
        "How well each model hears one quality of the playing, such as the pedalling, apart from all the others.",
        [
            "Specific r with its 95 % interval: 0 is chance, 1 is perfect. It counts only what the other six scores do not "
            "explain."
        ],
        [plots.by_dimension(shown, "specific r by dimension and head", "specific r")],
    )


def plain_r(results: Phase2Results, models: list[str]) -> Section:
    """Plain r by dimension and head, with the tier's own."""
    floor = results.evaluation.tier_floor
    shown = {name: results.evaluation.plain[name] for name in models}
    return Section(
        "Plain r, and what the tier alone reaches",
        "How well each model tells better from worse playing, when a general impression of good or bad is enough.",
        [
            "A grey tick marks a predictor that knows only the row's tier. A head at the tick adds no information about the "
            "dimension."
        ],
        [plots.by_dimension(shown, "plain r by dimension and head", "Pearson r", floor=floor)],
    )


def audit(results: Phase2Results, models: list[str]) -> Section:
    """Heads against the best shortcut of each dimension."""
    shortcuts = results.evaluation.audit
    rows: list[list[Cell]] = []
    for dimension in AXIS_DIMENSIONS:
        best = shortcuts.best[dimension]
        row: list[Cell] = [label(dimension), f"{best.name.replace('_', ' ')} {number(best.value, 2)}"]
        for name in models:
            value = number(results.evaluation.specific[name][dimension].value, 2)
            beats = shortcuts.beats[name][dimension].beats
            row.append(value if beats else {"text": f"{value} ✗", "style": "weak"})
        rows.append(row)
    reach = shortcuts.reach[DIMENSIONS[0]]
    words = "; ".join(f"{n.replace('_', ' ')}: {text}" for n, text in SHORTCUT_WORDS.items() if n in reach)
    head = ["dimension", "best shortcut", *[label(n) for n in models]]
    return Section(
        "Shortcut audit",
        "Whether the models judge the playing, or only something that goes with it, such as loudness or the number of notes.",
        [
            f"Shortcut baselines: ridge regression on one measure each ({words}). ✗: the head is not better than the best "
            "shortcut with its whole interval. The noise level is no shortcut for tone_quality, because it is the label there.",
        ],
        tables=[Table(head, rows, numeric=tuple(range(2, 2 + len(models))))],
        wide=True,
    )


def attention(results: Phase2Results) -> Section | None:
    """Entropy, sparsity and mean maps of cross-attention; None without a time grid."""
    maps = results.inspection.attention
    if maps is None:
        return None
    rows: list[list[Cell]] = []
    for key, words in DIRECTIONS:
        each = getattr(maps, key)
        for metric in ("entropy", "sparsity"):
            values = (number(getattr(m, metric), 2) for m in (each.trained, each.untrained))
            rows.append([words, metric, *values])
    window_s = results.store.window_s or 10.0
    return Section(
        "Cross-attention in time",
        "Where in the music the model looks: which moments of the sound it compares with which moments of the keys.",
        [IN_WORDS["attention_entropy"], IN_WORDS["attention_sparsity"]],
        [panels.attention(maps.audio_to_midi.map, maps.midi_to_audio.map, window_s)],
        [Table(["direction", "measure", "trained", "untrained"], rows, numeric=(2, 3))],
    )


def spaces(results: Phase2Results) -> Section:
    """Measures of the two feature spaces before any training."""
    s = results.inspection.spaces
    raw = "none: the two widths differ" if s.alignment_raw is None else number(s.alignment_raw, 2)
    rows: list[list[Cell]] = [
        ["paired − unpaired cosine, raw features", raw, IN_WORDS["alignment"]],
        [
            "the same after canonical correlation (CCA)",
            number(s.alignment_cca, 2),
            "A linear map, fitted on training pieces and measured on other pieces, before any contrastive training.",
        ],
        ["CKA (centred kernel alignment)", number(s.cka, 2), IN_WORDS["cka"]],
    ]
    for m in SINGLES:
        rank = f"{s.effective_rank[m]:.1f} of {s.channels[m]}"
        rows.append([f"mean cosine, {MODALITY[m]}", number(s.mean_cosine[m], 2), IN_WORDS["mean_cosine"]])
        rows.append(
            [
                f"mean cosine, {MODALITY[m]}, standardised",
                number(s.mean_cosine_standardised[m], 2),
                "The same after the mean and scale of each channel are taken out, as heads see the features.",
            ]
        )
        rows.append([f"effective rank, {MODALITY[m]}", rank, IN_WORDS["effective_rank"]])
    return Section(
        "Feature spaces of audio and MIDI",
        "How much the sound of a passage and its played notes have in common for the computer, before it learns anything about quality.",
        tables=[Table(["measure", "value", "meaning"], rows, kind="gate")],
        wide=True,
    )


def probe(results: Phase2Results) -> Section:
    """Ridge probe of every hidden state."""
    ridge, pair = results.ridge, results.pair
    series = {f"{m} {pair.of(m)}": ridge.layers[pair.of(m)] for m in SINGLES}
    best = "; ".join(f"{name}: state {b.state}, mean specific r {number(b.mean)}" for name, b in ridge.best.items())
    single = all(len(values) == 1 for values in series.values())
    xlabel, ylabel = "state (hidden layer) of the encoder", "mean specific r"
    return Section(
        "Ridge probe by encoder layer",
        "At which stage of listening, from the bare sound to the music, most can be read about the quality of playing.",
        [
            "Closed-form ridge regression on the mean and standard deviation over time of each state (hidden layer); the best "
            f"state is chosen on validation rows. {best}."
        ],
        [] if single else [panels.curves(series, "ridge probe by state", xlabel, ylabel)],
    )


def training(results: Phase2Results, heads: list[str]) -> Section:
    """Validation concordance by epoch."""
    return Section(
        "Training",
        "How the judgement of playing improved while the models learnt.",
        [
            "Concordance (CCC) on validation rows after each epoch, mean over seeds. All heads had the same data, epochs and "
            "seeds."
        ],
        [panels.validation_curves(results.history, heads)],
    )


def numbers(results: Phase2Results, models: list[str]) -> Section:
    """The test split's own r, within-tier r, and four other measures."""
    evaluation = results.evaluation
    head, numeric = ["dimension", *[label(n) for n in models]], tuple(range(1, 1 + len(models)))
    tables = []
    test = results.test_split
    if test is not None:
        rows: list[list[Cell]] = [[label(d), *[_both(test, n, d) for n in models]] for d in DIMENSIONS]
        means = ((test.plain.mean[n].value, test.specific.mean[n].value) for n in models)
        rows.append(["mean", *[f"{number(plain, 2)} · {number(specific, 2)}" for plain, specific in means]])
        caption = (
            f"Test split only ({counted(test.pieces, 'piece')}, {counted(test.rows, 'row')}): Pearson r · specific r"
        )
        tables.append(Table(head, rows, caption=caption, numeric=numeric))
    sources: list[tuple[str, Mapping[str, Mapping[str, Interval | float | None]]]] = [
        ("Within-tier r", evaluation.within_tier),
        *(
            []
            if evaluation.pairwise is None
            else [
                (
                    "Pairwise accuracy: share of pairs of degraded variants in the right order (chance 0.5)",
                    evaluation.pairwise.table,
                )
            ]
        ),
        ("Spearman r", evaluation.points["spearman"]),
        ("R²", evaluation.points["r2"]),
        ("Mean absolute error (points of 100)", evaluation.points["mae"]),
        ("Concordance (CCC)", evaluation.points["ccc"]),
    ]
    for caption, source in sources:
        rows = [[label(d), *[_cell(source[n][d]) for n in models]] for d in DIMENSIONS]
        tables.append(Table(head, rows, caption=caption, numeric=numeric, fold=True))
    return Section(
        "All tables",
        "The same judgements of playing in numbers, quality by quality, and by other measures.",
        tables=tables,
        wide=True,
    )


def _cell(value: Interval | float | None) -> str:
    return with_interval(value, 2) if isinstance(value, Interval) else number(value, 2)


def _both(test: OnTestSplit, name: str, dimension: str) -> str:
    specific = test.specific.table[name].get(dimension)
    plain = number(test.plain.table[name][dimension].value, 2)
    return f"{plain} · {'–' if specific is None else number(specific.value, 2)}"
