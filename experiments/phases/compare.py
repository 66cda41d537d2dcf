"""Runs side by side: the same rows, paired, with intervals.

    keybed compare RUN RUN…

Every run after the first is compared with the first on the rows that all of them predictions: mean specific r of each judge, and
the difference. Runs of one store alone can be compared; runs with different numbers of seeds are cut to the smaller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from keybed.experiments.data.run_folder import read_json, write_json
from keybed.experiments.evaluation.intervals import Interval, intervals
from keybed.experiments.evaluation.model_names import ALL_HEADS, BEST_FUSION, BEST_SINGLE, FINAL_FUSION, SPECIALISTS
from keybed.experiments.evaluation.predictions import Correlations, Predictions, over_dimensions, over_seeds
from keybed.experiments.evaluation.saved_predictions import SavedPredictions, load_predictions
from keybed.experiments.phases.config import CompareConfig
from keybed.experiments.reports.page import number
from keybed.experiments.reports.plots import label
from keybed.store.errors import KeybedError

MODELS = (*ALL_HEADS, BEST_FUSION, BEST_SINGLE, SPECIALISTS, FINAL_FUSION)


class NotComparable(KeybedError):
    """The runs judged different data."""


def run_compare(config: CompareConfig, console: Console) -> dict[str, Any]:
    """Print and return the comparison. Raises NotComparable for fewer than two runs or different stores."""
    results = compare(config.runs)
    for judge, rows in results["judges"].items():
        table = Table(title=f"{label(judge)}: mean specific r on {results['rows']} rows of {results['pieces']} pieces")
        for head in ("run", "mean specific r", "difference to the first"):
            table.add_column(head, overflow="fold")
        for row in rows:
            table.add_row(row["run"], _words(row["mean"]), _words(row["difference"]) if row["difference"] else "–")
        console.print(table)
    if config.out is not None:
        write_json(config.out, results)
        console.print(f"written: {config.out}", soft_wrap=True)
    return results


def _words(v: Interval) -> str:
    return f"{number(v.value)} ({number(v.low)} to {number(v.high)})"


def compare(runs: Sequence[Path]) -> dict[str, Any]:
    """Every judge that two runs or more share: each run's mean specific r and its difference to the first such run."""
    if len(runs) < 2:
        raise NotComparable("comparing needs two runs at least: keybed compare RUN RUN")
    stores = {str(run): read_json(run / "config.json")["store"] for run in runs}
    if len(set(stores.values())) > 1:
        listed = ", ".join(f"{run}: {store[:12]}…" for run, store in stores.items())
        raise NotComparable(f"these runs are of different stores ({listed}); runs of one store can be paired")
    saved = [load_predictions(run) for run in runs]
    names = _names(runs)
    common = saved[0].index
    for one in saved[1:]:
        common = np.intersect1d(common, one.index)
    if not len(common):
        raise NotComparable("no row was judged by all of these runs")
    n_seeds = min(next(iter(one.by_model.values())).shape[0] for one in saved)
    found: dict[str, Any] = {"rows": len(common), "runs": names, "seeds": n_seeds, "judges": {}}
    for judge in MODELS:
        having = [(name, one) for name, one in zip(names, saved, strict=True) if judge in one.by_model]
        if len(having) > 1:
            found["judges"][judge] = _paired(judge, dict(having), common, n_seeds)
    found["pieces"] = len(np.unique(_truth(saved[0], common)["piece"]))
    return found


def _names(runs: Sequence[Path]) -> list[str]:
    """Folder names; paths where two are alike; numbered where a run is given twice."""
    short = [run.resolve().name for run in runs]
    names = short if len(set(short)) == len(short) else [str(run) for run in runs]
    return [n if names.index(n) == i else f"{n} ({names[: i + 1].count(n)})" for i, n in enumerate(names)]


def _truth(saved: SavedPredictions, common: NDArray[np.int64]) -> dict[str, np.ndarray]:
    at = np.searchsorted(saved.index, common)
    return {name: values[at] for name, values in saved.truth.items()}


def _paired(
    judge: str, runs: Mapping[str, SavedPredictions], common: NDArray[np.int64], n_seeds: int
) -> list[dict[str, Any]]:
    said, folds = {}, []
    for name, one in runs.items():
        at = np.searchsorted(one.index, common)
        said[name] = one.by_model[judge][:n_seeds, at]
        folds.append(one.fold[at])
    _, fold = np.unique(np.stack(folds), axis=1, return_inverse=True)
    first = next(iter(runs.values()))
    correlations = Correlations(Predictions(said, **_truth(first, common), fold=fold.reshape(-1)), "specific")

    def statistic(pieces: NDArray[np.float64], seeds: NDArray[np.float64]) -> NDArray[np.float64]:
        mean = over_dimensions(over_seeds(correlations(pieces), seeds))
        return np.concatenate([mean, mean - mean[:, :1]], axis=1)

    values = intervals(statistic, correlations.n_pieces, n_seeds)
    n = len(runs)
    return [{"run": name, "mean": values[i], "difference": values[n + i] if i else None} for i, name in enumerate(runs)]
