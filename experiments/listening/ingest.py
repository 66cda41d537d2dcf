"""`keybed phase5 ingest`: rater agreement, ceiling, correlations with labels, gate and advice from the ratings of a set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from keybed.experiments.data.run_folder import write_json
from keybed.experiments.evaluation.gates import Gate, write_gate
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.listening.against_experts import (
    FEW_PIECES,
    ExpertCorrelation,
    ExpertRatings,
    centred_mean,
    labels_against,
    model_against,
)
from keybed.experiments.listening.answer_key import AnswerKey, read_answer_key
from keybed.experiments.listening.app.rating_set import read_set
from keybed.experiments.listening.config import IngestConfig
from keybed.experiments.listening.gate import advise, phase5_gate
from keybed.experiments.listening.ingest_results import (
    DimensionResults,
    IngestResults,
    ModelCorrelation,
    RatedShare,
    RaterHabits,
)
from keybed.experiments.listening.rater_agreement import intraclass, krippendorff_alpha, self_agreement
from keybed.experiments.listening.rater_model import RaterFit, fit_raters
from keybed.experiments.listening.rating_table import RatingTable, make_rating_table, read_ratings
from keybed.store.disk.durable import sha256_of
from keybed.store.format.vocabulary import DIMENSIONS


@dataclass(frozen=True, eq=False)
class Analysis:
    """labels: dimension → correlations with the experts. fits: dimension → rater model, None where it cannot be fitted."""

    labels: Mapping[str, ExpertCorrelation]
    fits: Mapping[str, RaterFit | None]
    experts: ExpertRatings


def ingest(config: IngestConfig, console: Console) -> Gate:
    """Analyse and write folder/result/{ratings,results,gate}.json and report.html. Raises NoRatings, InvalidRating."""
    from keybed.experiments.listening.ingest_page import write_ingest_page

    rating_set, answer_key = read_set(config.folder), read_answer_key(config.folder)
    ratings = read_ratings(rating_set)
    table = make_rating_table(rating_set, ratings, answer_key.codes)
    analysis = analyse(table, answer_key, replicates=config.replicates, seed=config.seed)
    out = config.folder / "result"
    out.mkdir(exist_ok=True)
    kept = {rater: {str(p): r.to_json() for p, r in sorted(given.items())} for rater, given in ratings.items()}
    rests_on = {"ratings.json": sha256_of(write_json(out / "ratings.json", kept))}
    results = summarise(table, answer_key, analysis, config)
    rests_on["results.json"] = sha256_of(write_json(out / "results.json", results))
    gate = phase5_gate(analysis.labels, rests_on, answer_key.provenance.overrides)
    write_gate(out, gate)
    write_ingest_page(results, gate, out / "report.html")
    verdict = (
        f"not yet. {gate.criteria[0].arithmetic}" if gate.verdict == "UNDEFINED" else f"{gate.verdict}. {gate.headline}"
    )
    console.print(f"Phase 5: {verdict}", highlight=False)
    for name in DIMENSIONS:
        advice = results.dimensions[name].advice
        console.print(f"  {name}: {advice.word} ({advice.reason})", highlight=False)
    console.print(f"Report: {out / 'report.html'}", highlight=False)
    return gate


def analyse(table: RatingTable, answer_key: AnswerKey, *, replicates: int = 2000, seed: int = 0) -> Analysis:
    """Fit the rater model of every dimension, then correlate labels with expert ratings."""
    n_clips, _, n_dimensions = table.first.shape
    robust = np.full((n_clips, n_dimensions), np.nan)
    fits: dict[str, RaterFit | None] = {}
    for k, name in enumerate(DIMENSIONS):
        fit = _fit(table.first[:, :, k], table.time)
        fits[name] = fit
        if fit is not None:
            rated = ~np.isnan(table.first[:, :, k]).all(axis=1)
            robust[:, k] = np.where(rated, fit.quality, np.nan)
        else:
            robust[:, k] = centred_mean(table.first[:, :, k : k + 1])[:, 0]
    experts = ExpertRatings(table.first, robust)
    labels = labels_against(
        experts,
        answer_key.score,
        answer_key.valid,
        answer_key.tier,
        answer_key.piece,
        answer_key.segment,
        replicates=replicates,
        seed=seed,
    )
    return Analysis(labels, fits, experts)


def _fit(ratings_CxR: NDArray[np.float64], time_CxR: NDArray[np.float64]) -> RaterFit | None:
    """None with one rater, with fewer than 4 ratings of a rater, or without variance: the model has no unique fit then."""
    known = ~np.isnan(ratings_CxR)
    if ratings_CxR.shape[1] < 2 or known.sum(axis=0).min() < 4 or np.nanstd(ratings_CxR) == 0:
        return None
    return fit_raters(ratings_CxR, time_CxR)


def summarise(table: RatingTable, answer_key: AnswerKey, analysis: Analysis, config: IngestConfig) -> IngestResults:
    """The numbers of results.json and the page."""
    model: Mapping[str, tuple[Interval, Interval]] = {}
    if answer_key.predicted is not None:
        model = model_against(
            analysis.experts,
            answer_key.predicted,
            answer_key.piece,
            answer_key.segment,
            replicates=config.replicates,
            seed=config.seed,
        )
    n_pieces = int(np.unique(answer_key.piece).size)
    return IngestResults(
        provenance=answer_key.provenance,
        n_clips=len(answer_key.codes),
        n_pieces=n_pieces,
        resampled="pieces" if n_pieces >= FEW_PIECES else "segments",
        raters={rater: RatedShare(rated, of) for rater, (rated, of) in table.finished.items()},
        dimensions={
            name: _dimension(table, k, analysis.fits[name], analysis.labels[name], model.get(name))
            for k, name in enumerate(DIMENSIONS)
        },
    )


def _dimension(
    table: RatingTable,
    k: int,
    fit: RaterFit | None,
    labels: ExpertCorrelation,
    model: tuple[Interval, Interval] | None,
) -> DimensionResults:
    """Results on dimension k."""
    first, second = table.first[:, :, k], table.second[:, :, k]
    icc = intraclass(first)
    return DimensionResults(
        icc_2_1=icc.single,
        icc_2_k=icc.mean,
        icc_3_k=icc.consistency,
        whole_clips=icc.n_clips,
        alpha=krippendorff_alpha(first),
        cannot_tell=float(np.isnan(first).mean()),
        labels=labels,
        model=None if model is None else ModelCorrelation(*model),
        advice=advise(labels),
        rater_model_reliability=None if fit is None else fit.reliability,
        raters={
            rater: RaterHabits(
                with_self=self_agreement(first[:, r], second[:, r]),
                bias=None if fit is None else float(fit.bias[r]),
                drift=None if fit is None else float(fit.drift[r]),
                drift_sd=None if fit is None else float(fit.drift_sd[r]),
                gain=None if fit is None else float(fit.gain[r]),
                noise=None if fit is None else float(fit.noise[r]),
            )
            for r, rater in enumerate(table.raters)
        },
    )
