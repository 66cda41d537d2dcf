"""Compare runs on the same rows: mean specific r and pairwise accuracy of each model, paired differences with intervals.

    keybed compare RUN RUN… --out DIR

Compares every run with the first one, on the rows that all of them predicted, with as many seeds as the run with the fewest.
All runs must be of one store. Rows, seeds and models that are left out are named. --out writes
DIR/results.json and DIR/report.html, which `keybed report DIR` writes again. Takes seconds.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from keybed.experiments.data.run_folder import RunTaken, read_json, write_json
from keybed.experiments.evaluation.comparison_results import COMPARISON, ComparedRun, Comparison
from keybed.experiments.evaluation.gate_chain import check_file
from keybed.experiments.evaluation.gates import read_gate
from keybed.experiments.evaluation.intervals import Interval, intervals
from keybed.experiments.evaluation.model_names import ALL_HEADS, BEST_FUSION, BEST_SINGLE, FINAL_FUSION, SPECIALISTS
from keybed.experiments.evaluation.pairwise import PairwiseAccuracy
from keybed.experiments.evaluation.predictions import Correlations, Predictions, over_dimensions, over_seeds
from keybed.experiments.evaluation.saved_predictions import PREDICTIONS, SavedPredictions, load_predictions
from keybed.experiments.phases.config import CompareConfig
from keybed.experiments.phases.run_differences import divided, facts, random_encoders, results_of
from keybed.experiments.reports.comparison_page import write_comparison_page
from keybed.experiments.reports.figure import label
from keybed.experiments.reports.page import with_interval
from keybed.store.counted import counted
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import AXIS_DIMENSIONS, DIMENSIONS, TIERS

MODELS = (*ALL_HEADS, BEST_FUSION, BEST_SINGLE, SPECIALISTS, FINAL_FUSION)


class NotComparable(KeybedError):
    """The runs are of different stores or share no rows."""


def run_compare(config: CompareConfig, console: Console) -> Comparison:
    """Print and return the comparison; with `out` also write its page.

    Raises NotComparable for fewer than two runs, different stores, or an `out` that is no folder; RunTaken where `out` holds a run.
    """
    began = time.monotonic()
    if config.out is not None:
        _check_out(config.out)
    results = compare(config.runs)
    console.print(
        f"{counted(results.rows, 'row')} of {counted(results.pieces, 'piece')}, {counted(results.seeds, 'seed')}",
        highlight=False,
    )
    for words in results.left_out:
        console.print(f"left out: {words}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    for model, rows in results.models.items():
        table = Table(
            title=f"{label(model)}: mean {results.measure} on {counted(results.rows, 'row')} of {counted(results.pieces, 'piece')}, {counted(results.seeds, 'seed')}"
        )
        variants = any(row.pairwise is not None for row in rows)
        heads = ("run", f"mean {results.measure}", "difference to the first")
        for head in (*heads, *(("pairwise accuracy", "difference to the first") if variants else ())):
            table.add_column(head, overflow="fold")
        for row in rows:
            values = (row.mean, row.difference, *((row.pairwise, row.pairwise_difference) if variants else ()))
            table.add_row(row.run, *("–" if v is None else with_interval(v) for v in values))
        console.print(table)
    if config.out is not None:
        report = _write(config.out, results)
        console.print(f"took {time.monotonic() - began:,.0f} s; report: {report}", soft_wrap=True, highlight=False)
    return results


def _check_out(out: Path) -> None:
    if out.suffix == ".json" or (out.exists() and not out.is_dir()):
        raise NotComparable(f"--out {out}: give a folder; results.json and report.html are written into it")
    taken = [name for name in ("config.json", "results.json") if (out / name).exists()]
    if taken and (taken != ["results.json"] or read_json(out / "results.json").get("phase") != COMPARISON):
        raise RunTaken(f"{out} holds another run ({taken[0]}): give another --out")


def _write(out: Path, results: Comparison) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KeybedError(f"--out {out} cannot be written ({error.strerror or error}); give another folder") from error
    write_json(out / "results.json", results)
    return write_comparison_page(results, out / "report.html")


def compare(runs: Sequence[Path]) -> Comparison:
    """Every model that at least two runs share: each run's mean specific r and its difference to the first such run.

    Of runs on ratings, mean Pearson r. Raises NotComparable where no rows, dimensions or models are common.
    """
    if len(runs) < 2:
        raise NotComparable("comparing needs two runs at least: keybed compare RUN RUN")
    gates = {str(run): read_gate(run) for run in runs}
    stores = {run: gate.rests_on.get("store", "unnamed") for run, gate in gates.items()}
    if len(set(stores.values())) > 1:
        listed = ", ".join(f"{run}: {store[:12]}…" for run, store in stores.items())
        raise NotComparable(f"these runs are of different stores ({listed}); runs of one store can be paired")
    for run in runs:
        for name in ("config.json", "results.json", PREDICTIONS):
            check_file(run, gates[str(run)], name)
    saved = [load_predictions(run) for run in runs]
    names = _names(runs)
    if len({one.dimensions for one in saved}) > 1:
        listed = "; ".join(f"{n}: {', '.join(one.dimensions)}" for n, one in zip(names, saved, strict=True))
        raise NotComparable(f"these runs predict other dimensions ({listed}); compare runs on the same ratings")
    common = saved[0].index
    for one in saved[1:]:
        common = np.intersect1d(common, one.index)
    if not len(common):
        raise NotComparable("no row was predicted by all of these runs")
    n_seeds = min(one.n_seeds for one in saved)
    models = {}
    for model in MODELS:
        having = {name: one for name, one in zip(names, saved, strict=True) if model in one.by_model}
        if len(having) > 1:
            models[model] = _paired(model, having, common, n_seeds)
    if not models:
        raise NotComparable("no model was predicted by two of these runs")
    pieces = len(np.unique(_truth(saved[0], common)["piece"]))
    left_out = _left_out(dict(zip(names, saved, strict=True)), len(common), n_seeds)
    measure: Literal["specific r", "Pearson r"] = "Pearson r" if _rated(saved[0]) else "specific r"
    results = [results_of(run) for run in runs]
    same, different = divided(
        [facts(run, r, gates[str(run)], one) for run, r, one in zip(runs, results, saved, strict=True)]
    )
    random, composed = random_encoders(results), results[0].store.composed
    return Comparison(
        len(common), tuple(names), n_seeds, models, pieces, left_out, same, different, measure, random, composed
    )


def _left_out(saved: Mapping[str, SavedPredictions], n_rows: int, n_seeds: int) -> tuple[str, ...]:
    """What some runs have and the comparison does not use."""
    words = []
    for name, one in saved.items():
        if one.n_seeds > n_seeds:
            words.append(
                f"{one.n_seeds - n_seeds} of the {counted(one.n_seeds, 'seed')} of {name}; the first {n_seeds} are compared"
            )
        if len(one.index) > n_rows:
            words.append(
                f"{len(one.index) - n_rows} of the {counted(len(one.index), 'row')} of {name}, which another run did not predict"
            )
    holders = {model: [name for name, one in saved.items() if model in one.by_model] for model in MODELS}
    for model, having in holders.items():
        if len(having) == 1:
            words.append(f"{label(model)}, which only {having[0]} has")
        elif 1 < len(having) < len(saved):
            words.append(
                f"{label(model)} of {', '.join(n for n in saved if n not in having)}, which did not predict it"
            )
    return tuple(words)


def _names(runs: Sequence[Path]) -> list[str]:
    """Folder names; paths where two are alike; numbered where a run is given twice."""
    short = [run.resolve().name for run in runs]
    names = short if len(set(short)) == len(short) else [str(run) for run in runs]
    return [n if names.index(n) == i else f"{n} ({names[: i + 1].count(n)})" for i, n in enumerate(names)]


def _truth(saved: SavedPredictions, common: NDArray[np.int64]) -> dict[str, Any]:
    at = np.searchsorted(saved.index, common)
    return {name: values[at] for name, values in saved.truth.items()}


def _paired(
    model: str, runs: Mapping[str, SavedPredictions], common: NDArray[np.int64], n_seeds: int
) -> tuple[ComparedRun, ...]:
    by_run, folds = {}, []
    for name, one in runs.items():
        at = np.searchsorted(one.index, common)
        by_run[name] = one.by_model[model][:n_seeds, at]
        folds.append(one.fold[at])
    _, fold = np.unique(np.stack(folds), axis=1, return_inverse=True)
    first = next(iter(runs.values()))
    predictions = Predictions(by_run, **_truth(first, common), fold=fold.reshape(-1), dimensions=first.dimensions)
    if _rated(first):
        return _without_variants(predictions, n_seeds)
    correlations, accuracy = Correlations(predictions, "specific"), PairwiseAccuracy(predictions)

    def statistic(pieces: NDArray[np.float64], seeds: NDArray[np.float64]) -> NDArray[np.float64]:
        share = over_seeds(accuracy(pieces), seeds)[:, : len(AXIS_DIMENSIONS)]
        each = over_seeds(correlations(pieces), seeds)
        means = [over_dimensions(each), over_dimensions(share)]
        both = [x for mean in means for x in (mean, _to_first(mean))]
        return np.concatenate([np.stack(both, axis=1), _to_first(each)], axis=1)

    r, difference, pairwise, pairwise_difference, *by_dimension = intervals(statistic, correlations.n_pieces, n_seeds)
    return tuple(
        ComparedRun(
            name,
            r[i],
            difference[i] if i else None,
            pairwise[i],
            pairwise_difference[i] if i else None,
            _named(correlations, [d[i] for d in by_dimension]) if i else {},
        )
        for i, name in enumerate(runs)
    )


def _to_first(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Differences along the last axis to its first entry. Equal predictions differ by rounding errors, which are no difference."""
    difference: NDArray[np.float64] = np.round(values - values[..., :1], 12) + 0.0  # no −0.0
    return difference


def _named(correlations: Correlations, values: Sequence[Interval]) -> dict[str, Interval]:
    return dict(zip(correlations.dimensions, values, strict=True))


def _rated(saved: SavedPredictions) -> bool:
    """Whether the predictions are of ratings by people: no row has variants, and r is Pearson's."""
    return saved.dimensions != DIMENSIONS or not (saved.truth["tier"] != TIERS.index("pristine")).any()


def _without_variants(predictions: Predictions, n_seeds: int) -> tuple[ComparedRun, ...]:
    correlations = Correlations(predictions, "plain")

    def statistic(pieces: NDArray[np.float64], seeds: NDArray[np.float64]) -> NDArray[np.float64]:
        each = over_seeds(correlations(pieces), seeds)
        mean = over_dimensions(each)
        return np.concatenate([np.stack([mean, _to_first(mean)], axis=1), _to_first(each)], axis=1)

    r, difference, *by_dimension = intervals(statistic, correlations.n_pieces, n_seeds)
    return tuple(
        ComparedRun(
            name,
            r[i],
            difference[i] if i else None,
            None,
            None,
            _named(correlations, [d[i] for d in by_dimension]) if i else {},
        )
        for i, name in enumerate(predictions.names)
    )
