"""The report on expert ratings: advice, gate, rater agreement, model against experts, each rater."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keybed.experiments.evaluation.decimals import number
from keybed.experiments.evaluation.gates import Gate
from keybed.experiments.listening.against_experts import SMALLEST_RELIABILITY
from keybed.experiments.listening.gate import FEWEST_CLIPS, SMALLEST_R
from keybed.experiments.listening.ingest_results import DimensionResults, IngestResults
from keybed.experiments.reports.audio_source import sound_banner
from keybed.experiments.reports.figure import label
from keybed.experiments.reports.page import (
    Banner,
    Cell,
    Page,
    Section,
    Table,
    gate_section,
    override_banners,
    with_interval,
    write_page,
)
from keybed.experiments.reports.plots import forest
from keybed.store.counted import counted

STYLES = {"transfers": "pill pass", "needs full annotation": "pill fail", "undecided": "pill shown"}


def write_ingest_page(results: IngestResults, gate: Gate, path: Path) -> Path:
    """One self-contained HTML file of results.json."""
    dimensions, provenance, undecided = results.dimensions, results.provenance, gate.verdict == "UNDEFINED"
    arithmetic = gate.criteria[0].arithmetic
    banners = override_banners(gate.overrides)
    unfinished = [f"{name} {r.rated} of {r.of}" for name, r in results.raters.items() if r.rated < r.of]
    if unfinished:
        banners.append(
            Banner(
                f"Not all clips are rated yet: {'; '.join(unfinished)}. All numbers are preliminary.", "Preliminary."
            )
        )
    if provenance.trial:
        banners.append(
            Banner("The clips were drawn to try the page with. Their ratings decide nothing.", "Trial.", True)
        )
    if results.resampled == "segments":
        banners.append(
            Banner(
                f"Only {counted(results.n_pieces, 'piece')}: intervals resample segments and hold for these pieces alone."
            )
        )
    if provenance.random_encoders:
        named = ", ".join(provenance.random_encoders)
        banners.append(Banner(f"{named}: seeded random weights, not the trained encoder.", "Random weights.", True))
    banners.append(sound_banner(provenance.audio_source))
    page = Page(
        title="Phase 5: synthetic labels against expert ratings",
        verdict=gate.verdict,
        word="NOT YET" if undecided else gate.verdict,
        lead=[f"Too few ratings to decide: {arithmetic}."] if undecided else [gate.headline, f"{arithmetic}."],
        below=[
            f"{counted(results.n_clips, 'clip')} of {counted(results.n_pieces, 'piece')}, {counted(len(results.raters), 'rater')}. Brackets are 95 % intervals; "
            f"{results.resampled} were resampled."
        ],
        advice=None if undecided else gate.advice,
        banners=banners,
        sections=[
            Section(
                "Advice for each dimension",
                _PLAIN["advice"],
                _ADVICE_WORDS,
                [_labels_by_dimension(dimensions)],
                [_advice(dimensions)],
                wide=True,
            ),
            gate_section(gate),
            Section(
                "Agreement between raters",
                _PLAIN["agreement"],
                _AGREEMENT_WORDS,
                tables=[_agreement(dimensions)],
                wide=True,
            ),
            *_model(dimensions),
            Section("Each rater", _PLAIN["raters"], _RATER_WORDS, tables=_raters(dimensions), wide=True),
        ],
        footer=[f"store {provenance.store[:16]}"],
    )
    return write_page(page, path)


_PLAIN = {
    "advice": "For each quality of playing: whether marks given by a program stand for what pianists hear.",
    "agreement": "How far the pianists who listened hear the same.",
    "model": "How closely the model follows the pianists' ears.",
    "raters": "How each pianist used the scale, and how steadily.",
}
_ADVICE_WORDS = (
    "r is the correlation of synthetic labels with the raters' mean. Transfers: its whole interval lies above 0.5. Needs full "
    f"annotation: the whole interval lies below. Else, and with fewer than {FEWEST_CLIPS} rated clips, undecided; n to decide is the number of clips that would decide it if r "
    "stays as it is. Specific r is the partial correlation given the other six labels.",
    "True r is r divided by the square root of the raters' reliability: the r expected with an unlimited number of raters; "
    f"undefined where that reliability is below {SMALLEST_RELIABILITY:g}. "
    "The ceiling is the largest r that the noise of these raters allows.",
)
_AGREEMENT_WORDS = (
    "ICC is the intraclass correlation. ICC(2,1): absolute agreement of one rater; ICC(2,k): of the mean of these raters; "
    "ICC(3,k): reliability of that mean when constant bias does not count, used for the ceiling. Alpha is Krippendorff's, "
    "interval metric.",
)
_RATER_WORDS = (
    "Self r and self sd compare two ratings of the same clip by one rater. Bias is the rater's mean, drift the change from first to last clip, "
    "gain the use of the scale (1 is usual), noise the remaining error; all in points of the scale.",
)


def _labels_by_dimension(dimensions: Mapping[str, DimensionResults]) -> str:
    items = [(label(name), d.labels.r) for name, d in dimensions.items()]
    return forest(items, "labels against the raters' mean", "r of labels with the raters' mean", threshold=SMALLEST_R)


def _advice(dimensions: Mapping[str, DimensionResults]) -> Table:
    rows: list[list[Cell]] = []
    for name, d in dimensions.items():
        n, word = d.advice.n_to_decide, d.advice.word
        needed = "–" if word != "undecided" else (f"{n:,.0f}" if np.isfinite(n) else "no number")
        specific = d.labels.specific
        rows.append(
            [
                name.replace("_", " "),
                {"text": word, "style": STYLES[word]},
                with_interval(d.labels.r, 2),
                "–" if specific is None else with_interval(specific, 2),
                with_interval(d.labels.true_r, 2),
                with_interval(d.labels.robust_r, 2),
                number(d.labels.ceiling, 2),
                str(d.labels.n),
                needed,
            ]
        )
    head = ["dimension", "advice", "r", "specific r", "true r", "r, rater model", "ceiling", "clips", "n to decide"]
    return Table(head, rows, numeric=tuple(range(2, 9)))


def _agreement(dimensions: Mapping[str, DimensionResults]) -> Table:
    rows = [
        [
            name.replace("_", " "),
            with_interval(d.icc_2_1, 2),
            with_interval(d.icc_2_k, 2),
            number(d.icc_3_k, 2),
            number(d.alpha, 2),
            number(d.rater_model_reliability, 2),
            f"{d.cannot_tell:.0%}",
        ]
        for name, d in dimensions.items()
    ]
    head = ["dimension", "ICC(2,1)", "ICC(2,k)", "ICC(3,k)", "alpha", "rater model", "cannot tell or not rated"]
    return Table(head, rows, numeric=tuple(range(1, 7)))


def _model(dimensions: Mapping[str, DimensionResults]) -> list[Section]:
    known = {name: d.model for name, d in dimensions.items() if d.model is not None}
    if not known:
        return []
    rows = [[n.replace("_", " "), with_interval(m.r, 2), with_interval(m.true_r, 2)] for n, m in known.items()]
    return [
        Section(
            "The model against the experts",
            _PLAIN["model"],
            tables=[Table(["dimension", "r", "true r"], rows, numeric=(1, 2))],
        )
    ]


def _raters(dimensions: Mapping[str, DimensionResults]) -> list[Table]:
    tables = []
    for name, d in dimensions.items():
        rows = []
        for rater, r in d.raters.items():
            drift = "–" if r.drift is None else f"{number(r.drift, 1)} ± {number(r.drift_sd, 1)}"
            bias, gain, noise = number(r.bias, 1), number(r.gain, 2), number(r.noise, 1)
            rows.append([rater, number(r.with_self.r, 2), number(r.with_self.sd, 1), bias, drift, gain, noise])
        head = ["rater", "self r", "self sd", "bias", "drift", "gain", "noise"]
        tables.append(Table(head, rows, caption=name.replace("_", " "), numeric=tuple(range(1, 7)), fold=True))
    return tables
