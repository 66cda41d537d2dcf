"""`keybed phase5 select`: draw clips of the test split, render them, and write the rating set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from keybed.experiments.data.rated_rows import refuse_ratings
from keybed.experiments.data.run_folder import write_json
from keybed.experiments.evaluation.gates import NO_RUN, GateRefused, Override
from keybed.experiments.listening.answer_key import AnswerKey, Provenance, write_answer_key
from keybed.experiments.listening.app.rating_set import RatingSet, new_tokens, write_set
from keybed.experiments.listening.app.welcome import Welcome, read_consent
from keybed.experiments.listening.config import SelectConfig
from keybed.experiments.listening.model_predictions import ModelPredictions, read_model_predictions
from keybed.experiments.listening.practice import practice_clips
from keybed.experiments.listening.presentation_order import presentations
from keybed.experiments.listening.selection_facts import ASSUMED_RELIABILITY, SampleFacts, sample_facts
from keybed.experiments.listening.selection_page import write_selection_page
from keybed.experiments.listening.stratified_sample import Candidates, draw
from keybed.experiments.phases.run_before import check_run_before, fingerprint_before
from keybed.store.command import command
from keybed.store.counted import counted
from keybed.store.errors import KeybedError
from keybed.store.format.rows import Rows
from keybed.store.format.vocabulary import AXIS_DIMENSIONS, TIERS
from keybed.store.read.store import Store

PRISTINE = TIERS.index("pristine")
TRIAL_CLIPS = 6
_FADE_S = 0.02


class SelectRefused(KeybedError):
    """A selection that cannot be made as asked."""


def select(config: SelectConfig, console: Console) -> Path:
    """Write the rating set and return its folder. Raises SelectRefused, SampleRefused, GateRefused."""
    from keybed.store import open as open_store

    store = open_store(config.store)
    refuse_ratings(store, "Phase 5")
    if (config.out / "ratings.sqlite").exists() or (config.out / "returned").exists():
        raise SelectRefused(f"{config.out} holds ratings already; give another --out")
    overrides: tuple[Override, ...] = ()
    consent = "" if config.consent is None else read_consent(config.consent)
    if config.trial:
        rows = store.rows(allow_missing=True)
        config = _trial(config, rows)
    else:
        profile = store.recipe.degradation.get("profile")
        if profile != "mixed":
            raise SelectRefused(
                f"{config.store} is of the {profile} profile: all its dimensions follow the tier; plan a mixed store"
            )
        overrides, rows = _permission(config, store), store.rows(split="test")
    config = with_numbers(config)
    predictions = None if config.after is None else read_model_predictions(config.after, rows.index)
    rng = np.random.default_rng(config.seed)
    candidates = _candidates(rows, predictions)
    assert config.max_label_r is not None
    chosen = draw(candidates, config.n, rng, max_label_r=config.max_label_r, max_pristine=config.max_pristine)
    practice = practice_clips(candidates, chosen, config.anchors, fewer=config.trial)
    design = make_rating_set(
        config, rows, chosen, practice, rng, predictions, _provenance(config, store, overrides), consent
    )
    _render(config.out, store, rows, {**design.practice, **design.codes}, console)
    from keybed.experiments.listening.volume_check import write_volume_check

    write_volume_check(design.rating_set, next(iter([*design.practice, *design.codes])))
    write_set(design.rating_set)
    facts = sample_facts(config, candidates, chosen, practice, predictions, store.recipe.audio["source"])
    write_json(config.out / "design.json", facts)
    write_selection_page(facts, overrides, config.out / "design.html")
    for line in _summary(config, facts):
        console.print(line, highlight=False)
    console.print(
        f"Read {config.out / 'design.html'}, then run: {command('phase5', 'serve', config.out)}",
        highlight=False,
    )
    return config.out


def _summary(config: SelectConfig, facts: SampleFacts) -> list[str]:
    """What was drawn, in words."""
    drawn = (
        f"{counted(config.n, 'clip')} of {counted(facts.n_pieces, 'piece')}, {counted(config.anchors, 'practice clip')}, "
        f"{counted(config.repeats or 0, 'repeat')} per rater"
    )
    if config.trial:
        return [f"A trial: {drawn}. It shows how the page works; its ratings decide nothing."]
    lines = [
        f"{drawn}; largest label correlation {facts.largest_label_correlation:.2f}, pristine {facts.pristine_share:.0%}."
    ]
    if facts.power is not None:
        lines.append(
            f"With raters' means of reliability {ASSUMED_RELIABILITY:g}, a true correlation of "
            f"{facts.power.smallest_true_r:.2f} is found in 4 of 5 such studies."
        )
    return lines


def _trial(config: SelectConfig, rows: Rows) -> SelectConfig:
    """The configuration with as few clips as a trial needs, and without limits on what they are."""
    n_segments = np.unique(rows.segment).size
    if n_segments < 2:
        raise SelectRefused(
            f"{config.store} has rows of {counted(n_segments, 'segment')}, a trial needs two; "
            f"run `{command('extract', config.store)}`"
        )
    n = min(config.n, TRIAL_CLIPS, max(n_segments // 2, 2))
    return replace(
        config,
        after=None,
        n=n,
        repeats=n // 3 if config.repeats is None else min(config.repeats, n // 3),
        anchors=min(config.anchors, 2, n_segments - n),
        max_label_r=np.inf,
        max_pristine=1.0,
    )


LABEL_R, AT_CLIPS = 0.15, 250
"""Default limit on label correlations, for this many clips."""
REPEATS = 20


def with_numbers(config: SelectConfig) -> SelectConfig:
    """The configuration with defaults that depend on the number of clips. Raises SelectRefused for numbers that do not fit.

    Correlations of unrelated labels have an sd of 1 / √(n − 1), so the limit grows as 1 / √n.
    """
    if config.repeats is None:
        config = replace(config, repeats=min(REPEATS, config.n // 3))
    _check_numbers(config)
    if config.max_label_r is None:
        config = replace(config, max_label_r=LABEL_R * max(np.sqrt(AT_CLIPS / config.n), 1.0))
    return config


def _check_numbers(config: SelectConfig) -> None:
    assert config.repeats is not None
    if config.n < 2:
        raise SelectRefused(f"--n {config.n}: a correlation needs at least 2 clips")
    if config.repeats > config.n // 3:
        raise SelectRefused(
            f"--repeats {config.repeats}: of {counted(config.n, 'clip')} at most {config.n // 3} can come a second time, so that none comes too "
            f"soon; give --repeats {config.n // 3} or fewer"
        )
    try:
        new_tokens(config.raters)
    except ValueError as error:
        raise SelectRefused(f"--raters: {error}") from error


def _permission(config: SelectConfig, store: Store) -> tuple[Override, ...]:
    if config.after is not None:
        return check_run_before(config.after, 4, fingerprint_before(config.after, store), config.override)[1]
    if config.override is None or not config.override.strip():
        raise GateRefused(
            'No Phase 4 run was named (--after RUN4). To draw clips without it, record the reason: --override "reason"'
        )
    return (Override(4, NO_RUN, config.override.strip(), ""),)


def _candidates(rows: Rows, predictions: ModelPredictions | None) -> Candidates:
    n_axes = len(AXIS_DIMENSIONS)
    spread = np.zeros(len(rows)) if predictions is None else predictions.spread
    order = np.argsort(np.argsort(spread, kind="stable"), kind="stable")
    return Candidates(
        rows.score[:, :n_axes].astype(np.float64),
        rows.valid[:, :n_axes] & np.isfinite(rows.score[:, :n_axes]),
        rows.tier == PRISTINE,
        rows.segment.astype(np.int64),
        rows.piece.astype(np.int64),
        order / max(len(rows), 1),
    )


@dataclass(frozen=True, eq=False)
class Design:
    """The rating set, and code → position in `rows` for rated and for practice clips."""

    rating_set: RatingSet
    codes: Mapping[str, int]
    practice: Mapping[str, int]


def make_rating_set(
    config: SelectConfig,
    rows: Rows,
    chosen: NDArray[np.int64],
    shown: Mapping[int, str | None],
    rng: np.random.Generator,
    predictions: ModelPredictions | None,
    provenance: Provenance,
    consent: str = "",
) -> Design:
    """Draw codes and orders, write the answer key; sound is written by `_render`. shown: of `practice_clips`."""
    names = [rng.bytes(8).hex() for _ in range(len(chosen) + len(shown))]
    codes = dict(zip(names, chosen.tolist(), strict=False))
    practice = dict(zip(names[len(chosen) :], shown, strict=True))
    assert config.repeats is not None
    orders = {
        rater: presentations(list(practice), list(codes), config.repeats, np.random.default_rng([config.seed, i]))
        for i, rater in enumerate(config.raters)
    }
    seconds = dict.fromkeys((*practice, *codes), provenance.window_s)
    config.out.mkdir(parents=True, exist_ok=True)
    answer_key = AnswerKey(
        tuple(codes),
        rows.index[chosen],
        rows.segment[chosen].astype(np.int64),
        rows.piece[chosen].astype(np.int64),
        rows.tier[chosen].astype(np.int64),
        rows.score[chosen].astype(np.float64),
        rows.valid[chosen],
        None if predictions is None else predictions.prediction[chosen],
        provenance,
    )
    write_answer_key(config.out, answer_key)
    rating_set = RatingSet(
        config.out,
        rng.bytes(6).hex(),
        seconds,
        orders,
        new_tokens(config.raters),
        Welcome(consent, config.contact.strip(), check=True),
        {code: dimension for code, i in practice.items() if (dimension := shown[i]) is not None},
    )
    return Design(rating_set, codes, practice)


def _provenance(config: SelectConfig, store: Store, overrides: tuple[Override, ...]) -> Provenance:
    return Provenance(
        store=store.fingerprint,
        audio_source=store.recipe.audio["source"],
        window_s=float(store.recipe.segments["window_s"]),
        random_encoders=tuple(e.name for e in store.recipe.encoders if e.random_weights),
        overrides=overrides,
        trial=config.trial,
    )


def _render(out: Path, store: Store, rows: Rows, codes: Mapping[str, int], console: Console) -> None:
    """Write every clip as FLAC, made as extraction made the row.

    Raises NotAsPlanned where this version of Keybed degrades differently, SelectRefused where labels differ from the store's.
    """
    import soundfile

    from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
    from keybed.extract.run.check_recipe import check_same_code, render_config
    from keybed.extract.run.row_maker import RowMaker, segment_jobs

    check_same_code(store.recipe)
    maker = RowMaker(render_config(store, store.machine_paths))
    (out / "audio").mkdir(parents=True, exist_ok=True)
    for code, i in track(sorted(codes.items(), key=lambda item: item[1]), "rendering", console=console, transient=True):
        row = int(rows.index[i])
        (job,) = segment_jobs(store.columns(row, row + 1))
        variant = maker.variants(job)[0]
        if not np.allclose(variant.score, rows.score[i], rtol=0, atol=1e-3, equal_nan=True):
            raise SelectRefused(
                f"row {rows.index[i]} gets other labels than those in the store; run `{command('verify', store.path)}`"
            )
        sound = maker.render(variant, job).audio.astype(np.float64)
        n = round(_FADE_S * SAMPLE_RATE_HZ)
        ramp = np.linspace(0, 1, n)
        sound[:n] *= ramp
        sound[-n:] *= ramp[::-1]
        soundfile.write(out / "audio" / f"{code}.flac", sound, SAMPLE_RATE_HZ, subtype="PCM_16")
