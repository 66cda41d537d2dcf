"""The files that a run's heads rest on: its store, its heads, and Phase 3's projections, each found and checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from keybed.experiments.data.folds import Fold, TooFewPieces, out_of_fold, outer_folds, split_fold
from keybed.experiments.data.run_folder import read_json, read_paths
from keybed.experiments.data.view import View
from keybed.experiments.evaluation import alignment
from keybed.experiments.evaluation.gate_chain import check_file
from keybed.experiments.evaluation.gates import Gate, read_gate
from keybed.experiments.evaluation.phase2_results import Phase2Results
from keybed.experiments.evaluation.phase3_results import Phase3Results
from keybed.experiments.evaluation.phase4_results import Phase4Results
from keybed.experiments.evaluation.rating_results import RatingRunResults
from keybed.experiments.reports.results import read_any_results, read_results
from keybed.heads import align, fitted
from keybed.store.errors import KeybedError, StoreError
from keybed.store.format.layout import Layout
from keybed.store.format.rows import Rows
from keybed.store.read.opening import open_store
from keybed.store.read.store import Store


class NoScoringRun(KeybedError):
    """The folder is no run that recordings can be scored with, or a file that it rests on is not found."""


@dataclass(frozen=True, eq=False)
class Condition:
    """Heads of one fold, on raw or on aligned features."""

    features: str
    fit: fitted.FitResult
    projection: align.AlignResult | None = None


@dataclass(frozen=True, eq=False)
class RunFiles:
    """A run, opened. fold: whose training rows the heads were fitted on. fusions: the heads to choose from."""

    run: Path
    phase: int
    gate: Gate
    store: Store
    view: View
    rows: Rows
    fold: Fold
    conditions: tuple[Condition, ...]
    fusions: tuple[str, ...]


def open_run(run: Path, store: Path | None = None) -> RunFiles:
    """Open a finished run of Phase 2 or 4. store: where its store lies, if the run does not know.

    Raises NoScoringRun, GateAltered and ChainBroken where a file is missing, altered or of another store.
    """
    results = read_any_results(run)
    if isinstance(results, RatingRunResults):
        raise NoScoringRun(
            f"{run} was trained on ratings by people ({', '.join(results.dimensions)}); score judges the eight dimensions of "
            "degraded rows, so give a run of Phase 2 or 4 on a store that was planned without --labels"
        )
    if not isinstance(results, Phase2Results | Phase4Results):
        raise NoScoringRun(f"{run} is no run of Phase 2 or Phase 4, whose heads score recordings")
    gate = read_gate(run)
    for name in gate.rests_on:
        if name != "store":
            check_file(run, gate, name)
    pair = results.pair
    view = View(pair.audio, pair.midi, pair.view)
    opened = _find_store(run, view, gate.rests_on["store"], store)
    rows, fingerprint = opened.rows(), view.fingerprint(opened)
    if isinstance(results, Phase2Results):
        fold = _phase2_fold(run, rows)
        fit = fitted.load(run / "heads.npz", store=fingerprint)
        fusions = tuple(name for name in fit.heads if name not in ("audio", "midi"))
        return RunFiles(run, 2, gate, opened, view, rows, fold, (Condition("raw", fit),), fusions)
    before = _run_before(run, results)
    settings = read_results(before, Phase3Results).heads
    fold = outer_folds(rows, settings.folds)[0]
    conditions = []
    for name, projection in (("aligned", alignment.projection_path(before, fold)), ("raw", None)):
        lengths = [run / "checkpoints" / name, *sorted((run / "checkpoints").glob(f"{name}-*-epochs"))]
        fits = [fitted.load_best(folder / "0" / "fold-1", store=fingerprint) for folder in lengths]
        loaded = None if projection is None else alignment.load_projections(projection)
        if loaded is not None and loaded.store != fingerprint:
            raise NoScoringRun(
                f"{projection} was trained on another store than {run}; give the Phase 3 run it went on from"
            )
        conditions += [Condition(name, fit, loaded) for fit in fits]
    return RunFiles(run, 4, gate, opened, view, rows, fold, tuple(conditions), (results.fusion,))


def _phase2_fold(run: Path, rows: Rows) -> Fold:
    """The fold of heads.npz: the store's own split, or the first of the folds where a part of it is empty."""
    try:
        return split_fold(rows)
    except TooFewPieces:
        return out_of_fold(rows, int(read_json(run / "config.json")["config"]["folds"]), seed=0)[0]


def _run_before(run: Path, results: Phase4Results) -> Path:
    """The Phase 3 run: where the run says, or the folder of that name beside it."""
    named = read_paths(run).get("after")
    for candidate in (*([] if named is None else [Path(named)]), run.absolute().parent / results.after.run):
        if (candidate / "results.json").is_file():
            return candidate
    raise NoScoringRun(
        f"{run} reads features that the Phase 3 run {results.after.run} aligned, and that run is not beside it; "
        f"move it to {run.absolute().parent / results.after.run}"
    )


def _find_store(run: Path, view: View, wanted: str, given: Path | None) -> Store:
    """The store of a run: the one given, the one that the run names, or one near the run; by its fingerprint."""
    if given is not None:
        store = open_store(given)
        if _fingerprint(store, view) != wanted:
            raise NoScoringRun(f"{given} is not the store that {run} was trained on (its fingerprint is another one)")
        return store
    for candidate in _candidates(run):
        try:
            store = open_store(candidate)
        except (StoreError, OSError):
            continue  # half copied, or of a newer format: not what is looked for
        if _fingerprint(store, view) == wanted:
            return store
    raise NoScoringRun(
        f"the store that {run} was trained on is not found (fingerprint {wanted[:12]}…): looked where the run says and beside "
        f"it; give it with --store STORE, or score with a packed model (keybed pack), which needs no store"
    )


def _candidates(run: Path) -> Iterator[Path]:
    named = read_paths(run).get("store")
    if named is not None and Layout(Path(named)).recipe.is_file():
        yield Path(named)
    for folder in (run.absolute().parent, run.absolute().parent.parent):
        yield from sorted(path.parent for path in folder.glob(f"*/{Layout(folder).recipe.name}"))


def _fingerprint(store: Store, view: View) -> str:
    try:
        return view.fingerprint(store)
    except (KeyError, StoreError):
        return ""
