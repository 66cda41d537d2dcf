"""Is ten seconds too short? The same corpus cut into windows of several lengths, judged by the same heads.

    keybed plan MAESTRO STORE5 --window 5 …   (and 10, 20), keybed extract …, then
    keybed window-check STORE5 STORE10 STORE20 --out RUN

The plan's fallback when Phase 2 says NO-GO. Windows differ, so rows cannot be paired; pieces are the same and every
number carries its interval. Context counts as the bottleneck only where the longest window's mean specific r lies above
the shortest one's with intervals that do not meet. About a minute a store of a few hundred rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import store as stores
from experiments import evidence
from experiments.choosing import most_often
from experiments.features import Features, View, pair_of
from experiments.gain import BEST_FUSION, BEST_SINGLE
from experiments.intervals import Interval
from experiments.phase3 import judging_folds
from experiments.run_folder import write_json
from experiments.trial import Budget, compiled_once, head_configs, run_trial
from heads.progress import display
from store.errors import KeybedError

HEADS = ("audio", "midi", "concat", "cross")


class WindowsMixed(KeybedError):
    """The stores differ in more than their windows."""


@dataclass(frozen=True)
class WindowCheckConfig:
    """Stores of one corpus and one degradation, with different windows."""

    stores: tuple[Path, ...]
    out: Path
    audio: str | None = None
    midi: str | None = None
    epochs: int = 5
    seeds: int = 3
    hidden: int = 64
    folds: int = 5


def run_window_check(config: WindowCheckConfig, console: Console) -> Path:
    """Judge every store and write OUT/windows.json; returns its path. Raises WindowsMixed."""
    opened = sorted((stores.open(path) for path in config.stores), key=lambda s: float(s.recipe.segments["window_s"]))
    _check(opened)
    budget = Budget(config.epochs, config.seeds, config.hidden)
    found: list[dict[str, Any]] = []
    with compiled_once(), display(console) as progress:
        for store in opened:
            audio, midi = pair_of(store, config.audio, config.midi)
            features = Features(store, View(audio, midi), store.rows())
            folds = judging_folds(features, config.folds)
            heads = head_configs(HEADS, config.hidden, "frames")
            trial = run_trial(features, folds, heads, budget, fingerprint=store.fingerprint, progress=progress)
            _, mean = evidence.correlation_table(trial.judged, (*HEADS, BEST_SINGLE, BEST_FUSION), "specific")
            found.append(
                {
                    "window_s": float(store.recipe.segments["window_s"]),
                    "rows": len(trial.rows),
                    "pieces": len(trial.judged.pieces),
                    "pair": [audio, midi],
                    "fusion": most_often([c.fusion for c in trial.choices]),
                    "mean": mean,
                }
            )
    verdict = context_verdict([f["mean"][BEST_FUSION] for f in found])
    table = Table(title="mean specific r by window length")
    for head in ("window", "rows", "best single", "best fusion"):
        table.add_column(head, justify="right")
    for f in found:
        cells = [_words(f["mean"][name]) for name in (BEST_SINGLE, BEST_FUSION)]
        table.add_row(f"{f['window_s']:g} s", str(f["rows"]), *cells)
    console.print(table)
    console.print(verdict)
    config.out.mkdir(parents=True, exist_ok=True)
    return write_json(config.out / "windows.json", {"windows": found, "verdict": verdict})


def _words(v: Interval) -> str:
    return f"{v.value:.3f} ({v.low:.3f} to {v.high:.3f})"


def _check(opened: list[Any]) -> None:
    if len(opened) < 2:
        raise WindowsMixed("a window check needs two stores at least, of different windows")
    first = opened[0].recipe
    for store in opened[1:]:
        for what in ("corpus", "degradation", "audio"):
            if getattr(store.recipe, what) != getattr(first, what):
                raise WindowsMixed(
                    f"{store.path} and {opened[0].path} differ in {what}: plan them alike but for --window"
                )
    windows = [s.recipe.segments["window_s"] for s in opened]
    if len(set(windows)) < len(windows):
        raise WindowsMixed(f"two of these stores have one window length ({windows})")


def context_verdict(by_window: list[Interval]) -> str:
    """In words: shortest window first."""
    short, long = by_window[0], by_window[-1]
    if long.low > short.high:
        return "Context is a bottleneck: the longest window does better than the shortest beyond both intervals."
    if long.high < short.low:
        return "Context is no bottleneck: shorter windows do better."
    return "Context is not shown to be the bottleneck: the intervals of the shortest and the longest window meet."
