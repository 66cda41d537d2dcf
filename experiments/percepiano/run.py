"""PercePiano (Phase 5): correlations of heads and models with human ratings of one passage played by many players.

    keybed phase5 percepiano ../shared/data/percepiano --out RUN [--after RUN2 --store STORE]

(a) zero-shot: heads of an earlier run, trained on synthetic degradation alone, against the ratings; (b) models trained on
the ratings, under three cross-validation protocols; (c) the ceiling that the raters' disagreement sets. About 5 minutes on two cores for 964 performances, the first
time 3 more for rendering, and some 5 to 10 more (estimated, not measured) for the heads (--no-heads leaves them out). What to expect: R² about 0.56 segment-grouped, which proves little (a table of player means
that uses no music gets 0.36); within-passage r about 0.40 with the composition held out, plain trees 0.30, the ceiling about 0.7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from keybed.experiments.data.folds import TooFewPieces
from keybed.experiments.data.run_facts import Pair
from keybed.experiments.data.run_folder import write_json
from keybed.experiments.evaluation.decimals import number
from keybed.experiments.evaluation.difference_ridge import NoSegments
from keybed.experiments.percepiano import models
from keybed.experiments.percepiano.ceiling import ceilings
from keybed.experiments.percepiano.config import PercepianoConfig
from keybed.experiments.percepiano.encoder_features import encode_performances, pooled_features
from keybed.experiments.percepiano.heads_on_ratings import heads_on_ratings
from keybed.experiments.percepiano.inputs import Inputs, make_inputs
from keybed.experiments.percepiano.models import (
    all_models,
    choose_in_folds,
    comparative_models,
    out_of_fold,
)
from keybed.experiments.percepiano.page import write_percepiano_page
from keybed.experiments.percepiano.protocols import ONE_COMPOSITION_OUT, Protocol, protocols, scores, write_folds
from keybed.experiments.percepiano.reader import Ratings, read
from keybed.experiments.percepiano.regressors import Model
from keybed.experiments.percepiano.results import (
    ComparedZeroShot,
    EncoderUsed,
    ModelScores,
    PercepianoResults,
    ProtocolResults,
    RatingFacts,
    RunSettings,
    ZeroShot,
)
from keybed.experiments.percepiano.run_predictions import compare_with_store, heads_of_run, predict_with_run
from keybed.experiments.percepiano.windows import Windows
from keybed.experiments.percepiano.within import Within, interval, pairwise_accuracy
from keybed.experiments.percepiano.zero_shot import Agreement, answer_questions
from keybed.experiments.reports.page import with_interval
from keybed.extract.corpus.percepiano import SCALES
from keybed.store.counted import counted
from keybed.store.errors import Incomplete, KeybedError
from keybed.store.format.recipe import EncoderSpec

Floats = NDArray[np.float64]


def percepiano(config: PercepianoConfig, console: Console) -> Path:
    """Write config.out/results.json and report.html; returns the report."""
    ratings = read(config.folder)
    console.print(
        f"{counted(len(ratings), 'rated performance')}, {ratings.human.sum()} human; {counted(len(ratings.problems), 'remark')} on the files"
    )
    for problem in ratings.problems:
        if problem.startswith("one composition"):
            console.print(problem, highlight=False)
    if config.after is not None:
        heads_of_run(config.after, config.store)  # before the performances are encoded, which takes minutes
    config.out.mkdir(parents=True, exist_ok=True)
    windows, specs = encode_performances(
        ratings,
        config.store,
        config.encoders,
        config.weights,
        hop_s=config.hop_s,
        cache=config.out,
        console=console,
    )
    pooled, trusted = ({}, None) if windows is None else pooled_features(windows, specs)
    inputs = make_inputs(ratings, pooled, trusted)
    heads = {}
    if windows is not None and config.heads is not None:
        heads = heads_on_ratings(windows, specs, inputs, config.heads, lambda line: console.print(line, style="dim"))
    results = PercepianoResults(
        data=_rating_facts(ratings),
        encoders=tuple(EncoderUsed(spec.name, spec.source, spec.random_weights) for spec in specs),
        ceiling=ceilings(ratings),
        zero_shot=_zero_shot(config, ratings, windows, specs, console),
        protocols={},
        config=RunSettings(config.seed, config.replicates, config.hop_s, None if windows is None else config.heads),
    )
    report = _write(config.out, results)
    for name, protocol in protocols(ratings).items():
        write_folds(protocol, ratings, config.out / "folds")
        finished = _evaluate(protocol, inputs, heads, config, console)
        results = replace(results, protocols={**results.protocols, name: finished})
        report = _write(config.out, results)  # an interrupted run keeps the protocols that are finished
    console.print(f"Report: {report}; the folds of every protocol: {config.out / 'folds'}", highlight=False)
    return report


def _write(out: Path, results: PercepianoResults) -> Path:
    write_json(out / "results.json", results)
    return write_percepiano_page(results, out / "report.html")


def _rating_facts(ratings: Ratings) -> RatingFacts:
    return RatingFacts(
        n=len(ratings),
        human=int(ratings.human.sum()),
        compositions={str(c): int((ratings.composition == c).sum()) for c in np.unique(ratings.composition)},
        passages=int(np.unique(ratings.passage).size),
        players=int(np.unique(ratings.player).size),
        problems=tuple(ratings.problems),
    )


def _zero_shot(
    config: PercepianoConfig,
    ratings: Ratings,
    windows: Windows | None,
    specs: Sequence[EncoderSpec],
    console: Console,
) -> ZeroShot | None:
    if config.after is None or windows is None:
        return None
    pair, predictions = predict_with_run(config.after, config.store, windows, specs)
    if config.head not in predictions:
        raise KeybedError(f"{config.after} has no head {config.head!r}; it has {', '.join(predictions)}")
    each = {
        name: answer_questions(ratings, p, replicates=config.replicates, seed=config.seed)
        for name, p in predictions.items()
    }
    own = each[config.head]
    _print_answers("zero-shot", own, console)
    compared, why_not = None, ""
    try:
        compared = _compared(config, ratings, windows, specs, pair, own, console)
    except (Incomplete, TooFewPieces, NoSegments) as error:
        why_not = str(error)
        console.print(f"performances are not compared, the store has no rows for it: {why_not}", highlight=False)
    return ZeroShot(
        head=config.head,
        run=config.after.name,
        pair=pair,
        random=tuple(s.name for s in specs if s.random_weights and s.name in (pair.audio, pair.midi)),
        answers=own.answers,
        other_heads={name: tuple(a.r for a in agreement.answers) for name, agreement in each.items()},
        mean=own.mean,
        compared=compared,
        why_not_compared=why_not,
    )


def _compared(
    config: PercepianoConfig,
    ratings: Ratings,
    windows: Windows,
    specs: Sequence[EncoderSpec],
    pair: Pair,
    head: Agreement,
    console: Console,
) -> ComparedZeroShot:
    """The same questions for a difference ridge, which reads how a performance differs from the others of its passage."""
    assert config.store is not None
    predictions, test_r = compare_with_store(config.store, pair, windows, specs, ratings)
    each = {
        source: answer_questions(ratings, p, replicates=config.replicates, seed=config.seed)
        for source, p in predictions.items()
    }
    both = each["both"]
    _print_answers("zero-shot, difference ridge", both, console)
    return ComparedZeroShot(
        answers=both.answers,
        mean=both.mean,
        over_head=interval(both.mean.value - head.mean.value, both.drawn - head.drawn),
        each={source: tuple(a.r for a in agreement.answers) for source, agreement in each.items()},
        test_r=test_r,
    )


def _print_answers(what: str, agreement: Agreement, console: Console) -> None:
    for a in agreement.answers:
        console.print(
            f"{what}, {'confirmatory' if a.confirmatory else 'exploratory'}: {a.question.dimension} with {a.question.words}: "
            f"r {with_interval(a.r, 2)}, p {number(a.p)}",
            highlight=False,
        )
    console.print(f"{what}: mean r of the confirmatory questions {with_interval(agreement.mean, 2)}", highlight=False)


def _evaluate(
    protocol: Protocol, inputs: Inputs, heads: Mapping[str, Model], config: PercepianoConfig, console: Console
) -> ProtocolResults:
    """Evaluate every model under one protocol, with paired intervals of its difference to plain trees."""
    ratings = inputs.ratings
    n, k = ratings.rating.shape
    predicted: dict[str, Floats] = {}
    candidates = comparative_models(inputs)
    for name, model in {**all_models(inputs, candidates), **heads}.items():
        console.print(f"{protocol.name}: {name}", highlight=False)
        predicted[name] = out_of_fold(model, protocol.folds, n, k)
    choices: list[str] = []
    if protocol.name == ONE_COMPOSITION_OUT and len(protocol.folds) > 2:
        console.print(f"{protocol.name}: {models.CHOSEN}", highlight=False)
        predicted[models.CHOSEN], choices = choose_in_folds(candidates, ratings, protocol.folds)
    within = Within(ratings, ratings.human)
    everybody = Within(ratings, np.ones(n, bool))
    drawn = within.compare(list(predicted.values()), replicates=config.replicates, seed=config.seed)
    base = list(predicted).index(models.PLAIN_TREES)
    values = {name: within.r(p[within.kept]) for name, p in predicted.items()}
    rows: dict[str, ModelScores] = {}
    for i, (name, p) in enumerate(predicted.items()):
        levels = models.COMPARATIVE not in name and name not in (models.CHOSEN, models.PLAYER_TABLE)
        fit = scores(p, ratings.rating)
        rows[name] = ModelScores(
            r2=float(fit["r2"].mean()) if levels else None,
            r=float(fit["r"].mean()) if levels else None,
            r2_by_scale=tuple(fit["r2"].tolist()) if levels else None,
            r_by_scale=tuple(fit["r"].tolist()) if levels else None,
            within_r=interval(values[name].mean(), drawn[:, i]),
            within_by_scale=tuple(values[name].tolist()),
            within_with_scores=float(everybody.r(p).mean()),
            pairwise=float(np.nanmean(pairwise_accuracy(p, ratings.rating, ratings.passage, ratings.human))),
            over_plain_trees=interval(
                values[name].mean() - values[models.PLAIN_TREES].mean(), drawn[:, i] - drawn[:, base]
            ),
            by_composition={
                str(c): float(_of(ratings, ratings.composition == c, p).mean()) for c in np.unique(ratings.composition)
            },
        )
    return ProtocolResults(protocol.held_back, rows, tuple(choices), tuple(SCALES))


def _of(ratings: Ratings, among: NDArray[np.bool_], predicted: Floats) -> Floats:
    inside = Within(ratings, among & ratings.human)
    return inside.r(predicted[inside.kept])
