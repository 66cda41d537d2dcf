"""The report on PercePiano: one self-contained page, the hardest protocol first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from keybed.experiments.evaluation.decimals import number
from keybed.experiments.percepiano.models import BLEND, CHOSEN, PLAIN_TREES, TABLE
from keybed.experiments.percepiano.protocols import ONE_COMPOSITION_OUT, PERFORMER_DISJOINT, SEGMENT_GROUPED
from keybed.experiments.percepiano.results import (
    ComparedZeroShot,
    PercepianoResults,
    ProtocolResults,
    RatingFacts,
    ZeroShot,
)
from keybed.experiments.percepiano.zero_shot import Answer
from keybed.experiments.reports.page import Banner, Cell, Page, Section, Table, with_interval, write_page
from keybed.experiments.reports.plots import forest
from keybed.extract.corpus.percepiano import SCALES
from keybed.store.counted import counted

PUBLISHED = "Published R², the authors' piece split: Bi-LSTM 0.185, MidiBERT 0.313, with hierarchical attention 0.397."

_LABEL_WIDTH = 44
"""Longer names of models are broken over lines in plots, so that they leave room for the plot itself."""
_ZERO_SHOT = "Whether models that learnt from a program's mistakes hear in real performances what people hear."
_PROTOCOLS = {
    SEGMENT_GROUPED: "Whether a model follows people's ears on new passages of music and players that it knows.",
    PERFORMER_DISJOINT: "Whether a model follows people's ears when it does not know the players.",
    ONE_COMPOSITION_OUT: "Whether a model tells the better of several performances of music that it does not know.",
}


def write_percepiano_page(results: PercepianoResults, path: Path) -> Path:
    """Write the page of results.json."""
    hard = results.protocols.get(ONE_COMPOSITION_OUT)
    easy = results.protocols.get(SEGMENT_GROUPED)
    lead, word, verdict = [], "DESCRIBED", "UNDEFINED"
    if hard is not None:
        best = hard.models.get(CHOSEN) or hard.models[BLEND]
        over = best.over_plain_trees
        better = over.above_zero
        word, verdict = ("BETTER THAN PLAIN TREES", "GO") if better else ("NO BETTER THAN PLAIN TREES", "NO-GO")
        lead.append(
            f"Composition held out, human performances only: mean within-passage r (correlation after each passage's mean is "
            f"subtracted) {with_interval(best.within_r, 2)} with the model chosen in each fold; plain trees {with_interval(hard.models[PLAIN_TREES].within_r, 2)}; difference {with_interval(over, 2)}."
        )
    if easy is not None:
        r2 = max((m.r2 for m in easy.models.values() if m.r2 is not None), default=None)
        lead.append(
            f"Passages held out, as published: R² up to {number(r2, 2)}; a table of player means that uses no music: {number(easy.models[TABLE].r2, 2)}."
        )
    banners = [
        Banner(f"{e.name}: seeded random weights, not the trained encoder.", "Random weights.", True)
        for e in results.encoders
        if e.random
    ]
    data = results.data
    hardest_first = reversed(results.protocols.items())
    sections = [
        *_zero_shot(results.zero_shot),
        *(_protocol(name, of_protocol) for name, of_protocol in hardest_first),
    ]
    sections += [_by_scale(results), _data(data)]
    page = Page(
        title="PercePiano: human ratings of the same passage played by many",
        verdict=verdict,
        word=word,
        lead=lead,
        below=[
            f"{counted(data.n, 'performance')} ({data.human} human) of {counted(data.passages, 'passage')} of "
            f"{counted(len(data.compositions), 'composition')} by {counted(data.players, 'player')}. Brackets are 95 % intervals; players and passages are resampled."
        ],
        advice=None,
        banners=banners,
        sections=sections,
        footer=[f"seed {results.config.seed}, {counted(results.config.replicates, 'resample')}"],
    )
    return write_page(page, path)


def _zero_shot(zero_shot: ZeroShot | None) -> list[Section]:
    if zero_shot is None:
        words = ["Not computed: it needs a run with trained heads (--after RUN --store STORE)."]
        return [
            Section("Zero-shot: heads trained on synthetic labels against human ratings", _ZERO_SHOT, words, wide=True)
        ]
    words = [
        f"Heads of {zero_shot.run} ({zero_shot.head}: {zero_shot.pair.audio} and {zero_shot.pair.midi}) never met a human rating: "
        "they were trained on synthetic labels alone. Positive r means that heads and raters agree; the scale and the sign for each "
        "dimension were fixed beforehand. note_accuracy has no counterpart in PercePiano."
    ]
    if zero_shot.mean is not None:
        words.append(f"Mean of the six confirmatory questions: {with_interval(zero_shot.mean, 2)}.")
    sections = [
        Section(
            "Zero-shot: heads trained on synthetic labels against human ratings",
            _ZERO_SHOT,
            words,
            pictures=[_questions_plot(zero_shot.answers, "zero-shot")],
            tables=[_questions_table(zero_shot.answers)],
            wide=True,
        )
    ]
    if zero_shot.compared is not None:
        sections.append(_compared(zero_shot.compared, zero_shot))
    elif zero_shot.why_not_compared:
        words.append(f"Performances were not compared: {zero_shot.why_not_compared}.")
    return sections


def _compared(compared: ComparedZeroShot, zero_shot: ZeroShot) -> Section:
    """The difference ridge."""
    known = ", ".join(
        f"{dimension.replace('_', ' ')} {number(r, 2)}" for dimension, r in compared.test_r.items() if r is not None
    )
    words = [
        "A ridge was fitted to differences between the variants of each segment of the store: how their features differ, and how "
        "their scores do. Here it reads how each performance differs from the others of its passage. It was not trained on ratings, "
        "and it cannot score a performance that has no others to compare with.",
        f"Mean of the six confirmatory questions: {with_interval(compared.mean, 2)}; minus the head {zero_shot.head}, which scores each performance "
        f"by itself: {with_interval(compared.over_head, 2)}.",
        f"Specific r of its differences on the store's own test pieces: {known or 'not computed, the store has no test rows'}.",
    ]
    sources = Table(
        ["what it reads", *(f"{a.question.dimension.replace('_', ' ')} {a.words}" for a in compared.answers)],
        [
            [
                {"audio": zero_shot.pair.audio, "midi": zero_shot.pair.midi}.get(source, source),
                *(number(r.value, 2) for r in rs),
            ]
            for source, rs in compared.each.items()
        ],
        numeric=tuple(range(1, len(compared.answers) + 1)),
    )
    return Section(
        "Zero-shot: a ridge fitted to differences between degraded variants",
        "Whether it helps to compare performances of one passage, in place of scoring each by itself.",
        words,
        pictures=[_questions_plot(compared.answers, "difference ridge")],
        tables=[_questions_table(compared.answers), sources],
        wide=True,
    )


def _questions_plot(answers: Sequence[Answer], what: str) -> str:
    return forest(
        [(f"{a.question.dimension.replace('_', ' ')}\nscale {a.words}", a.r) for a in answers],
        f"{what}: within-passage r of predicted dimensions and human scales, human performances only",
        "r; right of 0: predictions and raters agree",
    )


def _questions_table(answers: Sequence[Answer]) -> Table:
    rows: list[list[Cell]] = []
    for a in answers:
        agrees = a.r.above_zero and a.p < 0.05
        text = "agrees" if agrees else ("disagrees" if a.r.high < 0 else "no evidence")
        style = {"agrees": "pill pass", "disagrees": "pill fail", "no evidence": "pill shown"}[text]
        kind = "confirmatory, Holm" if a.confirmatory else "exploratory, two-sided, uncorrected"
        if text != "no evidence" and not a.confirmatory:
            text, style = f"{text} (exploratory)", "pill shown"
        rows.append(
            [
                a.question.dimension.replace("_", " "),
                a.words,
                with_interval(a.r, 2),
                number(a.p, 3),
                {"text": text, "style": style},
                number(a.pairwise, 2),
                number(a.with_scores, 2),
                kind,
            ]
        )
    head = [
        "dimension",
        "scale",
        "within-passage r",
        "p",
        "",
        "pairs in the right order",
        "with score renderings",
        "kind",
    ]
    return Table(head, rows, numeric=(2, 3, 5, 6))


def _protocol(name: str, of_protocol: ProtocolResults) -> Section:
    rows: list[list[Cell]] = [
        [
            model,
            number(m.r2, 3),
            number(m.r, 2),
            with_interval(m.within_r, 3),
            with_interval(m.over_plain_trees, 3),
            number(m.pairwise, 3),
            number(m.within_with_scores, 2),
        ]
        for model, m in of_protocol.models.items()
    ]
    head = [
        "model",
        "R²",
        "r",
        "within-passage r, human performances",
        "minus plain trees",
        "pairs in the right order",
        "r with score renderings",
    ]
    text = [f"{of_protocol.held_back.capitalize()}."]
    if name == SEGMENT_GROUPED:
        text.append(PUBLISHED)
    if name == ONE_COMPOSITION_OUT:
        model = CHOSEN if CHOSEN in of_protocol.models else BLEND
        each = of_protocol.models[model].by_composition
        text.append(
            f"The intervals hold for {counted(len(each), 'composition')} alone, those of this set: players and passages are resampled, compositions are "
            f"not. By composition, {model}: {', '.join(f'{c} {number(r, 3)}' for c, r in each.items())}."
        )
    if of_protocol.choices:
        text.append(f"Chosen in each fold: {'; '.join(of_protocol.choices)}.")
    picture = forest(
        [(fill(model, _LABEL_WIDTH), m.within_r) for model, m in of_protocol.models.items()],
        f"{name}: within-passage r, human performances only",
        "mean r over 19 scales",
    )
    return Section(
        name.capitalize(),
        _PROTOCOLS[name],
        text,
        pictures=[picture],
        tables=[Table(head, rows, numeric=(1, 2, 3, 4, 5, 6))],
        wide=True,
    )


def _by_scale(results: PercepianoResults) -> Section:
    hard = results.protocols.get(ONE_COMPOSITION_OUT)
    easy = results.protocols.get(SEGMENT_GROUPED)
    ceiling = results.ceiling
    rows = []
    for k, scale in enumerate(SCALES):
        row = [f"{k + 1} {scale}", number(ceiling.r2[k], 2)]
        if easy is not None:
            trees = easy.models[PLAIN_TREES]
            assert trees.r2_by_scale is not None
            assert trees.r_by_scale is not None
            row += [number(trees.r2_by_scale[k], 2), number(trees.r_by_scale[k], 2)]
        row.append(number(ceiling.within_r[k], 2))
        if hard is not None:
            row += [number(hard.models[m].within_by_scale[k], 2) for m in (PLAIN_TREES, BLEND)]
        rows.append(row)
    head = ["scale", "ceiling R²"]
    head += [] if easy is None else [f"{PLAIN_TREES}, {SEGMENT_GROUPED}: R²", "r"]
    head.append("ceiling within-passage r")
    head += [] if hard is None else [f"{PLAIN_TREES}, composition out", f"{BLEND}, composition out"]
    text = [
        "results.json has R², r and within-passage r of every model and scale. The ceiling is the largest value that the raters' own disagreement allows (about 12 raters per performance)."
    ]
    return Section(
        "Each scale, with the ceiling set by rater disagreement",
        "Which qualities of playing a model hears as people do, and on which people disagree themselves.",
        text,
        tables=[Table(head, rows, numeric=tuple(range(1, len(head))))],
        wide=True,
    )


def _data(data: RatingFacts) -> Section:
    listed = [[p] for p in data.problems] or [["none"]]
    table = Table(["remark"], listed, caption=f"{counted(len(data.problems), 'remark')} on the files", fold=True)
    return Section(
        "The data",
        "The music and the number of performances that people listened to.",
        [", ".join(f"{c}: {n}" for c, n in data.compositions.items())],
        tables=[table],
        wide=True,
    )
