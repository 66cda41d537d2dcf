"""Facts and options of finished runs as text: what is the same in all of them, and what differs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keybed.experiments.data.run_folder import read_json
from keybed.experiments.evaluation.curve_results import CurveResults
from keybed.experiments.evaluation.gates import Gate
from keybed.experiments.evaluation.saved_predictions import SavedPredictions
from keybed.experiments.evaluation.window_results import WindowCheckResults
from keybed.experiments.reports.results import NothingToReport, RunResults, read_any_results
from keybed.store.counted import counted

ABSENT = "–"


def results_of(run: Path) -> RunResults:
    """The run's results. Raises NothingToReport for a window check and a curve, which predict no single rows."""
    results = read_any_results(run)
    if isinstance(results, WindowCheckResults | CurveResults):
        raise NothingToReport(f"{run} has no predictions of single rows; compare runs of Phase 2, 3 or 4")
    return results


def facts(run: Path, results: RunResults, gate: Gate, saved: SavedPredictions) -> dict[str, str]:
    """Name → text: phase, verdict, store, encoders, rows, seeds, and every option in config.json that has a value."""
    store, pair = results.store, results.pair
    described = read_json(run / "config.json")
    named = {
        "phase": str(results.phase),
        "verdict of its gate": gate.verdict,
        "store": f"{store.fingerprint[:16]}…, {counted(store.n_rows, 'row')}, profile {store.profile}, {store.audio_source} audio",
        "degradation version": str(store.degradation_version),
        "encoders": f"{pair.audio} and {pair.midi}, {pair.view} view",
        "test rows": f"{len(saved.index):,}",
        "seeds predicted": str(saved.n_seeds),
        "version of Keybed": str(described.get("version", "unknown")),
    }
    given = {name: value for name, value in described.get("config", {}).items() if value is not None}
    return named | {f"--{name.replace('_', '-')}": _text(value) for name, value in given.items()}


def random_encoders(runs: Sequence[RunResults]) -> tuple[str, ...]:
    """Encoders with seeded random weights that any of the runs reads."""
    return tuple(
        sorted({e.name for r in runs for e in r.store.encoders if e.random and e.name in (r.pair.audio, r.pair.midi)})
    )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def divided(runs: Sequence[dict[str, str]]) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """(what all runs have in common, what differs with one text per run), in the order in which the runs name it."""
    names = list(dict.fromkeys(name for run in runs for name in run))
    texts = {name: tuple(run.get(name, ABSENT) for run in runs) for name in names}
    same = {name: each[0] for name, each in texts.items() if len(set(each)) == 1}
    return same, {name: each for name, each in texts.items() if name not in same}
