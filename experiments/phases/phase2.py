"""Phase 2, diagnostic training. Does fusing audio and MIDI beat either alone, and do heads judge quality, not difficulty?

    keybed phase2 STORE --out RUN

Trains audio only, MIDI only, concatenation, cross-attention and gated heads, 5 epochs × 5 seeds, all in one pass over the
stored features, beside a closed-form ridge probe and predictors that cannot hear (shortcuts). A store with fewer than
20 test pieces is judged out of fold over all its pieces. About a minute for a few hundred rows on two cores (mostly
compilation); on all of MAESTRO a few minutes an epoch with the `pca` view.

GO needs: fusion ≥ 10 % better in mean specific r than the best single modality, the interval above zero, and better
than the per-dimension specialists; both modalities used; pristine over degraded, also where tone is no help; scores
that difficulty does not move. What to expect with the baseline encoders on real piano music: each modality sees other
dimensions, so fusion easily beats either alone; whether it beats the specialists is the real question.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from keybed.experiments.data.features import Features, View, pair_of
from keybed.experiments.data.folds import MIN_TEST_PIECES, Fold, TooFewPieces, n_test_pieces, out_of_fold, split_fold
from keybed.experiments.data.run_folder import about_store, machine, start_run, write_json
from keybed.experiments.evaluation import inspection, ordering, tables
from keybed.experiments.evaluation.cross_validation import (
    Budget,
    CrossValidation,
    compiled_once,
    cross_validate,
    head_configs,
)
from keybed.experiments.evaluation.fusion_gain import Gain, gain_criteria, gains, reading
from keybed.experiments.evaluation.gates import Criterion, Gate, at_least, below, make_gate, sha256_of, write_gate
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.model_names import ALL_HEADS, BEST_FUSION, SPECIALISTS, TIER_SHORTCUT
from keybed.experiments.evaluation.model_selection import most_often
from keybed.experiments.evaluation.predictions import Predictions
from keybed.experiments.evaluation.ridge_probe import ridge_probe
from keybed.experiments.evaluation.saved_predictions import PREDICTIONS, save_predictions
from keybed.experiments.phases.config import Phase2Config
from keybed.experiments.reports.report import render
from keybed.experiments.reports.terminal import print_summary
from keybed.heads import fitted
from keybed.heads.progress import display
from keybed.store.format.vocabulary import COVARIATES
from keybed.store.read.store import Store, open_store

GAIN_THRESHOLD = 0.10
USED_THRESHOLD = 0.02
ORDERING_THRESHOLDS = {"pristine>poor": 0.90, "pristine>moderate": 0.75}
SLOPE_THRESHOLD = 0.10
SHOWN = (*ALL_HEADS, SPECIALISTS)


def run_phase2(config: Phase2Config, console: Console) -> Path:
    """Run Phase 2 to its report; returns RUN/report.html. An interrupted run goes on where it stopped."""
    started = time.perf_counter()
    store = open_store(config.store)
    audio, midi = pair_of(store, config.audio, config.midi)
    start_run(config.out, config, store.fingerprint)
    budget = Budget(config.epochs, config.seeds, config.hidden, config.batch_rows, config.learning_rate)
    rows = store.rows()
    features = Features(store, View(audio, midi, config.view), rows, memory_gib=config.memory_gib)
    console.print(
        f"Phase 2 on {len(rows)} rows of {len(np.unique(rows.piece))} pieces: {audio} and {midi}, view {config.view}"
    )
    own, judging = _plan(features, config.folds, console)
    heads = head_configs(ALL_HEADS, config.hidden, features.view.inputs)
    largest = max(len(fold.train) for fold in (*own, *judging))
    checkpoints = config.out / "checkpoints"
    with compiled_once(), display(console) as progress:
        common: dict[str, Any] = {"fingerprint": store.fingerprint, "n_train_rows": largest, "progress": progress}
        on_test = (
            cross_validate(features, own, heads, budget, checkpoints=checkpoints / "split", **common) if own else None
        )
        trial = on_test
        if judging:
            trial = cross_validate(features, judging, heads, budget, checkpoints=checkpoints / "folds", **common)
    assert trial is not None
    fitted.save(config.out / "heads.npz", (on_test or trial).fits[0])
    console.print("judging: intervals, ordering, swaps, shortcuts …")
    results = {
        "phase": 2,
        "store": about_store(store),
        "pair": {"audio": audio, "midi": midi, "view": config.view},
        "budget": budget.fit_config(largest).to_json(),
        **judge(trial),
        "test_split": None if on_test is None else _test_split(on_test),
        "ridge": ridge_probe(store, audio, midi, (own or judging)[0], rows),
        "inside": look_inside(on_test or trial, features),
        "history": (on_test or trial).fits[0].history,
        "machine": machine(),
        "seconds": round(time.perf_counter() - started, 1),
    }
    write_json(config.out / "results.json", results)
    save_predictions(config.out, trial)
    gate = phase2_gate(trial.predictions, results, store, config.out)
    write_gate(config.out, gate)
    report = render(config.out)
    print_summary(console, results, gate, report)
    return report


def _plan(features: Features, n_folds: int, console: Console) -> tuple[list[Fold], list[Fold]]:
    """The store's own split (none where a part of it is empty) and the folds that judge instead, where it is too small."""
    rows = features.rows
    enough = n_test_pieces(rows)
    try:
        own = [split_fold(rows)]
    except TooFewPieces as error:
        console.print(f"[yellow]{error}[/yellow]")
        own = []
    if own and enough >= MIN_TEST_PIECES:
        return own, []
    console.print(
        f"The test split has {enough} pieces, under {MIN_TEST_PIECES}: every piece is judged out of fold instead "
        f"({n_folds} folds by piece)."
    )
    return own, out_of_fold(rows, n_folds, seed=0)


def judge(trial: CrossValidation) -> dict[str, Any]:
    """Every number of one trial that a report shows, as JSON-ready values."""
    predictions = trial.predictions
    names = tuple(name for name in SHOWN if name in predictions.names)
    specific, mean_specific = tables.correlation_table(predictions, names, "specific")
    plain, mean_plain = tables.correlation_table(predictions, (*names, TIER_SHORTCUT), "plain")
    within, mean_within = tables.correlation_table(predictions, names, "within_tier")
    floor = plain.pop(TIER_SHORTCUT)
    found = gains(predictions)
    return {
        "judged": {
            "rows": len(predictions.tier),
            "pieces": len(predictions.pieces),
            "segments": len(np.unique(predictions.segment)),
            "how": "test split" if len(trial.folds) == 1 else f"out of fold, {len(trial.folds)} folds by piece",
            "folds": len(trial.folds),
        },
        "chosen": {
            "single": most_often([c.single for c in trial.choices]),
            "fusion": most_often([c.fusion for c in trial.choices]),
            "each_fold": [c.to_json() for c in trial.choices],
        },
        "specific": specific,
        "plain": plain,
        "within_tier": within,
        "mean": {"specific": mean_specific, "plain": mean_plain, "within_tier": mean_within},
        "tier_floor": floor,
        "points": tables.point_table(predictions, names),
        "gain": found,
        "reading": reading(found),
        "swap": tables.swap_losses(predictions),
        "swap_by_dimension": tables.swap_by_dimension(predictions),
        "ordering": {name: ordering.ordering(predictions, name) for name in (*names, BEST_FUSION)},
        "difficulty": {
            "slopes": ordering.difficulty_slopes(predictions, BEST_FUSION),
            "by_decile": ordering.ordering_by_difficulty(predictions, BEST_FUSION),
        },
        "audit": tables.audit(predictions, names),
        "label_correlation": tables.label_correlation(predictions),
    }


def _test_split(trial: CrossValidation) -> dict[str, Any]:
    """Plain and specific r on the test split's pieces only, without intervals where it has a single piece."""
    names = tuple(name for name in SHOWN if name in trial.predictions.names)
    pieces = len(trial.predictions.pieces)
    kinds: dict[str, Any] = {}
    for kind in ("plain", "specific"):
        if pieces > 1:
            table, mean = tables.correlation_table(trial.predictions, names, kind)
        else:
            table, mean = tables.point_correlations(trial.predictions, names, kind)
        kinds[kind] = {"table": table, "mean": mean}
    return {"rows": len(trial.predictions.tier), "pieces": pieces, **kinds}


def look_inside(trial: CrossValidation, features: Features) -> dict[str, Any]:
    """Diagnostics of the first fold's heads on its judged rows."""
    fit, fold = trial.fits[0], trial.folds[0]
    shown = inspection.sample(fold.test)
    return {
        "attention": inspection.attention(fit, "cross", features, shown),
        "gate": inspection.gate_weights(fit, features, shown),
        "spaces": inspection.spaces(features, inspection.sample(fold.train), shown),
    }


def phase2_gate(predictions: Predictions, results: dict[str, Any], store: Store, run: Path) -> Gate:
    """The verdict with every criterion. On a tiered store only the plan's literal arithmetic is predictions."""
    found = gains(predictions)
    criteria = [
        *gain_criteria(found, GAIN_THRESHOLD),
        *used_criteria(results["swap"]),
        *ordering_criteria(results["ordering"][BEST_FUSION]),
        difficulty_criterion(results["difficulty"]["slopes"]),
    ]
    files = ("results.json", "heads.npz", PREDICTIONS)
    rests_on = {"store": store.fingerprint} | {name: sha256_of(run / name) for name in files}
    tiered = results["store"]["profile"] == "tiered"
    return make_gate(2, criteria, literal_criteria(results, found["literal"]), rests_on, literal_only=tiered)


def used_criteria(swap: dict[str, Interval]) -> list[Criterion]:
    """Both modalities count where taking one from another variant of the segment costs specific r."""
    words = {"audio": "the sound", "midi": "the notes"}
    return [
        at_least(
            f"{'audio' if m == 'audio' else 'MIDI'} is used",
            swap[m],
            USED_THRESHOLD,
            f"with {words[m]} of another variant of the same segment, mean specific r falls by {swap[m].value:.3f}",
            above_zero=True,
        )
        for m in ("audio", "midi")
    ]


def ordering_criteria(accuracy: dict[str, Interval]) -> list[Criterion]:
    """Pristine over poor and over moderate, overall and where the tone scores differ least."""
    found = []
    for pair, threshold in ORDERING_THRESHOLDS.items():
        words = pair.replace(">", " over ")
        for key, extra in ((pair, ""), (f"{pair}, tone alike", ", tone alike")):
            value = accuracy[key]
            text = (
                f"{100 * value.value:.1f} % of the pairs of one segment the right way round"
                if np.isfinite(value.value)
                else "no pairs"
            )
            found.append(at_least(f"{words}{extra}", value, threshold, text))
    return found


def difficulty_criterion(slopes: dict[str, Interval]) -> Criterion:
    """The steepest of the six slopes on difficulty, per sd, as a share of the pristine–poor gap."""
    defined = {name: s for name, s in slopes.items() if np.isfinite(s.value)}
    if len(defined) < len(COVARIATES):
        nothing = Interval(float("nan"), float("nan"), float("nan"))
        return below(
            "quality, not difficulty",
            nothing,
            SLOPE_THRESHOLD,
            "pristine is not above poor, so there is no gap to compare with",
        )
    worst = max(defined, key=lambda name: abs(defined[name].value))
    s = defined[worst]
    size = Interval(abs(s.value), *(sorted((s.low, s.high)) if s.value >= 0 else sorted((-s.low, -s.high))))
    listed = ", ".join(f"{name.split('_')[0]} {100 * v.value:+.1f} %".replace("-", "−") for name, v in defined.items())
    return below(
        "quality, not difficulty",
        size,
        SLOPE_THRESHOLD,
        f"steepest: {worst.replace('_', ' ')}; slopes per sd ÷ pristine–poor gap: {listed}",
    )


def literal_criteria(results: dict[str, Any], literal: Gain) -> list[Criterion]:
    """The plan's words taken literally: plain r, mean over eight dimensions; pristine above degraded; attention spread."""
    accuracy: dict[str, Interval] = results["ordering"][BEST_FUSION]
    order = np.nanmean([accuracy[f"pristine>{t}"].value for t in ("good", "moderate", "poor")])
    found = [
        at_least(
            "literal: fusion beats best single", literal.relative, GAIN_THRESHOLD, f"plain r: {literal.arithmetic}"
        ),
        at_least(
            "literal: pristine scores higher than degraded",
            Interval(float(order), float("nan"), float("nan")),
            0.5,
            f"pristine first in {100 * order:.1f} % of pairs with good, moderate and poor",
        ),
    ]
    attention = results["inside"]["attention"]
    if attention is not None:
        entropy = [attention[d]["trained"]["entropy"] for d in ("audio_to_midi", "midi_to_audio")]
        known = [e for e in entropy if e is not None]
        value = float(np.mean(known)) if known else float("nan")
        found.append(
            at_least(
                "literal: attention entropy (high = both used)",
                Interval(value, float("nan"), float("nan")),
                0.5,
                "mean of both directions; untrained attention is as even, so this proves nothing",
                required=False,
            )
        )
    return found
