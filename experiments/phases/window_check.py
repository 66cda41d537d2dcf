"""Window check: test whether windows of 10 s are too short, with the same heads on one corpus cut to several lengths.

    keybed plan MAESTRO STORE5  --window 5  --bins 10 --limit 500
    keybed plan MAESTRO STORE10 --window 10 --bins 20 --limit 500
    keybed plan MAESTRO STORE20 --window 20 --bins 40 --limit 500      the same seed, profile and encoders, bins of 0.5 s
    keybed extract STORE5; keybed extract STORE10; keybed extract STORE20
    keybed window-check STORE5 STORE10 STORE20 --out RUN

The plan's fallback when Phase 2 says NO-GO. Windows differ, so rows cannot be paired; pieces are the same, and every number
has an interval. The window length limits the result where the longest window's mean specific r lies above the shortest
one's and their intervals do not overlap.

Time: about a minute per store of a few hundred rows, once they are extracted. Expect: a longer window holds more notes, so
more of its labels are valid; the table shows the share.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from keybed.experiments.data.features import Features
from keybed.experiments.data.folds import outer_folds
from keybed.experiments.data.rated_rows import refuse_ratings
from keybed.experiments.data.run_facts import Pair, store_facts, this_machine
from keybed.experiments.data.run_folder import start_run, write_json
from keybed.experiments.data.view import View, pair_of
from keybed.experiments.evaluation import tables
from keybed.experiments.evaluation.cross_validation import Budget, compiled_once, cross_validate, head_configs
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.model_names import BEST_FUSION, BEST_SINGLE
from keybed.experiments.evaluation.model_selection import most_often
from keybed.experiments.evaluation.window_results import WindowCheckResults, WindowResults
from keybed.experiments.phases.config import WindowCheckConfig
from keybed.experiments.reports.page import with_interval
from keybed.experiments.reports.report import render
from keybed.heads.progress import display
from keybed.store.errors import KeybedError
from keybed.store.format.recipe import differences, fingerprint
from keybed.store.read.opening import open_store
from keybed.store.read.store import Store

HEADS = ("audio", "midi", "concat", "cross")
SHOWN = (*HEADS, BEST_SINGLE, BEST_FUSION)


class WindowsMixed(KeybedError):
    """The stores differ in more than their windows."""


def run_window_check(config: WindowCheckConfig, console: Console) -> Path:
    """Evaluate every store and write results.json and report.html; returns the report's path. Raises WindowsMixed."""
    started = time.perf_counter()
    opened = sorted((open_store(path) for path in config.stores), key=_window_s)
    for store in opened:
        refuse_ratings(store, "window-check")
    check_alike(opened)
    budget = Budget(config.epochs, config.seeds, config.hidden)
    heads = head_configs(HEADS, budget, "frames")
    views = [View(*pair_of(store, config.audio, config.midi)) for store in opened]
    for store, view in zip(opened, views, strict=True):
        view.paths(store)
        budget.fit_config(max(len(fold.train) for fold in outer_folds(store.rows(), config.folds)))
    start_run(
        config.out, config, fingerprint([view.fingerprint(store) for store, view in zip(opened, views, strict=True)])
    )
    windows = []
    with compiled_once(), display(console) as progress:
        for store, view in zip(opened, views, strict=True):
            features = Features(store, view, store.rows(), memory_gib=config.memory_gib)
            result = cross_validate(
                features,
                outer_folds(features.rows, config.folds),
                heads,
                budget,
                fingerprint=view.fingerprint(store),
                checkpoints=config.out / "checkpoints" / f"{_window_s(store):g}-s",
                progress=progress,
            )
            specific, mean = tables.correlation_table(result.predictions, SHOWN, "specific")
            windows.append(
                WindowResults(
                    window_s=_window_s(store),
                    store=store_facts(store),
                    rows=len(result.rows),
                    valid_share=float(result.rows.valid.mean()),
                    pieces=len(result.predictions.pieces),
                    pair=Pair(view.audio, view.midi, view.kind),
                    fusion=most_often([c.fusion for c in result.choices]),
                    specific=specific,
                    mean=mean,
                )
            )
    word, verdict = context_verdict([w.mean[BEST_FUSION] for w in windows])
    _print(console, windows, verdict)
    results = WindowCheckResults(
        phase="window check",
        store=windows[-1].store,
        pair=windows[-1].pair,
        windows=tuple(windows),
        word=word,
        verdict=verdict,
        machine=this_machine(),
        seconds=round(time.perf_counter() - started, 1),
    )
    write_json(config.out / "results.json", results)
    report = render(config.out)
    console.print(f"report: {report}", soft_wrap=True)
    return report


def _window_s(store: Store) -> float:
    return float(store.recipe.segments["window_s"])


def _print(console: Console, windows: Sequence[WindowResults], verdict: str) -> None:
    table = Table(title="mean specific r by window length")
    for head in ("window", "rows", "best single", "best fusion"):
        table.add_column(head, justify="right")
    for w in windows:
        cells = [with_interval(w.mean[name]) for name in (BEST_SINGLE, BEST_FUSION)]
        table.add_row(f"{w.window_s:g} s", str(w.rows), *cells)
    console.print(table)
    console.print(verdict)


def check_alike(opened: Sequence[Store]) -> None:
    """Raises WindowsMixed unless these are at least two stores that differ only in their windows."""
    if len(opened) < 2:
        raise WindowsMixed("a window check needs two stores at least, of different windows")
    first = opened[0]
    for store in opened[1:]:
        for what in ("corpus", "degradation", "audio"):
            ours, theirs = (_without_window(getattr(s.recipe, what)) for s in (store, first))
            if ours != theirs:
                raise WindowsMixed(
                    f"{store.path} and {first.path} differ in {what}: plan them alike but for --window and --bins "
                    f"({'; '.join(differences(ours, theirs, what)[:3])})"
                )
    windows = [_window_s(store) for store in opened]
    if len(set(windows)) < len(windows):
        raise WindowsMixed(f"two of these stores have one window length ({windows})")


def _without_window(part: Mapping[str, Any]) -> dict[str, Any]:
    """A part of a recipe without what follows from the window's length.

    Under a limit, other windows take other recordings; and a note bank's notes are as long as a window.
    """
    kept = {key: value for key, value in part.items() if key not in ("n_recordings_used", "bank_sha256")}
    if "soundfonts" in kept:
        kept["soundfonts"] = [{"name": entry["name"], "sha256": entry["sha256"]} for entry in kept["soundfonts"]]
    return kept


def context_verdict(by_window: Sequence[Interval]) -> tuple[str, str]:
    """A word and a sentence; shortest window first."""
    short, long = by_window[0], by_window[-1]
    if long.low > short.high:
        return (
            "context matters",
            "Context is a bottleneck: the longest window does better than the shortest beyond both intervals.",
        )
    if long.high < short.low:
        return "not context", "Context is no bottleneck: shorter windows do better."
    return (
        "not shown",
        "Context is not shown to be the bottleneck: the intervals of the shortest and the longest window meet.",
    )
