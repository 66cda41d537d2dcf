"""The training loop: one pass over the data trains all models and seeds, for any `Objective`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from keybed.heads import checkpoint
from keybed.heads.data import Data, Resident, ValidationOnDevice, read_ahead
from keybed.heads.errors import BadInput, CheckpointMismatch, NotFinite
from keybed.heads.fit_config import FitConfig
from keybed.heads.inputs import HeadInput, pad_rows
from keybed.heads.normalisation import Normalisation, differing, measure
from keybed.heads.optimiser import FlatAdamW
from keybed.heads.progress import Listener, Pace
from keybed.heads.step import (
    Objective,
    Recipe,
    Schedule,
    State,
    compiled,
    fresh,
    join_seeds,
    scan,
    seed_groups,
    step,
    take_seeds,
)
from keybed.heads.xla import keep_compiled_code, keep_freed_memory

Tree = Any
Losses = dict[str, Any]
"""{model: losses of a group of seeds}, on the device."""

CHUNK_STEPS = 64
"""Steps of one scan over data on the device; between scans the host checks losses and reports progress."""


@dataclass(frozen=True)
class Trained:
    """The best epoch of each model and seed. params: {model: tree of NumPy arrays, leading axis S}.

    compiled_steps: number of shapes of the training step that this fit compiled, 0 where an earlier fit of the process did.
    """

    params: dict[str, Tree]
    normalisation: Normalisation
    history: list[dict[str, Any]]
    best_epoch: dict[str, list[int]]
    compiled_steps: int


def train(
    objective: Objective,
    data: Data,
    config: FitConfig,
    *,
    store: str = "",
    normalisation: Normalisation | None = None,
    progress: Listener | None = None,
) -> Trained:
    """Train all models × seeds with one pass over the data per epoch; resumes from config.checkpoint_dir if it holds a state.

    Raises BadInput, NotFinite and CheckpointMismatch (heads/errors.py).
    """
    if data.n_train_rows < config.batch_rows:
        raise BadInput(
            f"batch_rows={config.batch_rows} but the training split has {data.n_train_rows} rows; "
            f"use batch_rows of at most {data.n_train_rows}"
        )
    keep_freed_memory()
    keep_compiled_code()
    if normalisation is None:
        first = data.train(0)
        normalisation = measure(first, batch_rows=config.batch_rows, max_rows=config.normalisation_rows)
    run = _Run(objective, data, config, normalisation, progress)
    settings = {"fit": config.to_json(), "models": objective.to_json(), "data": {"n_train_rows": data.n_train_rows}}
    if config.checkpoint_dir is not None:
        saved = checkpoint.load(config.checkpoint_dir, run.tree(), config=settings, store=store)
        if saved is not None:
            changed = differing(saved[0]["normalisation"], normalisation)
            if changed:
                raise CheckpointMismatch(
                    f"{config.checkpoint_dir}: the fit began on other data than it is given now: {', '.join(changed)} differ in "
                    "their means or standard deviations over the training rows. Give another checkpoint_dir, or the data it began on"
                )
            run.restore(*saved)
    while not run.finished:
        run.epoch()
        if config.checkpoint_dir is not None:
            count = len(run.history)
            checkpoint.save(config.checkpoint_dir, run.tree(), run.facts(), config=settings, store=store, count=count)
    return Trained(run.best, run.schedule.normalisation, run.history, run.best_epoch, compiled() - run.compiled_before)


class _Run:
    """A running fit: the current state, the best parameters so far, the history."""

    def __init__(
        self,
        objective: Objective,
        data: Data,
        config: FitConfig,
        normalisation: Normalisation,
        progress: Listener | None,
    ) -> None:
        self.objective, self.data, self.config, self.progress = objective, data, config, progress
        self.compiled_before = compiled()
        self.epoch_steps = -(-data.n_train_rows // config.batch_rows)
        self.recipe = Recipe(objective, FlatAdamW(config.weight_decay, config.clip_norm), config.compute_dtype)
        rates = config.rates(self.epoch_steps * config.epochs)
        self.schedule = Schedule(np.array(config.seeds, np.uint32), rates, normalisation)
        self.groups = seed_groups(len(config.seeds))
        self.state = fresh(self.recipe, self.schedule, next(iter(data.train(0))))
        self.best: dict[str, Tree] = jax.tree.map(np.array, self.state.params)
        self.score = {name: [float("-inf")] * len(config.seeds) for name in objective.names}
        self.best_epoch = {name: [-1] * len(config.seeds) for name in objective.names}
        self.history: list[dict[str, Any]] = []
        self._resident: Resident | None = None
        self._evaluated: Data = data
        self._load_tried = False

    @property
    def state(self) -> State:
        """All seeds."""
        params, optimiser = join_seeds([(s.params, s.optimiser) for s in self._states])
        return State(params, optimiser, self._states[0].step)

    @state.setter
    def state(self, state: State) -> None:
        # each group needs its own copy of the count, because a step donates its state's memory
        self._states = [
            State(take_seeds(state.params, g), take_seeds(state.optimiser, g), jnp.array(state.step))
            for g in self.groups
        ]

    @property
    def finished(self) -> bool:
        done, patience = len(self.history), self.config.patience
        idle = min(done - 1 - e for row in self.best_epoch.values() for e in row)
        return done >= self.config.epochs or bool(patience and done and idle >= patience)

    def tree(self) -> dict[str, Tree]:
        """The arrays of a checkpoint."""
        return {"state": self.state, "best": self.best, "normalisation": self.schedule.normalisation}

    def facts(self) -> dict[str, Any]:
        """The other contents of a checkpoint, as JSON."""
        score = {n: [s if np.isfinite(s) else None for s in row] for n, row in self.score.items()}
        return {"history": self.history, "best_epoch": self.best_epoch, "score": score}

    def restore(self, tree: dict[str, Tree], facts: dict[str, Any]) -> None:
        self.state, self.best = jax.tree.map(jnp.asarray, tree["state"]), jax.tree.map(np.array, tree["best"])
        self.schedule = self.schedule._replace(normalisation=tree["normalisation"])
        self.history, self.best_epoch = facts["history"], facts["best_epoch"]
        self.score = {n: [float("-inf") if s is None else s for s in row] for n, row in facts["score"].items()}

    def epoch(self) -> None:
        """Train one epoch, validate, keep the parameters that improved."""
        number, epoch_start = len(self.history), time.perf_counter()
        if not self._load_tried:
            self._resident, self._load_tried = Resident.load(self.data, self.config, self.objective.scannable), True
            self._evaluated = ValidationOnDevice.load(self.data, self.config, self._resident)
            jax.block_until_ready(self._resident and self._resident.rows)
        train_start = time.perf_counter()
        pace = Pace(
            self.progress,
            number,
            self.config.epochs,
            self.epoch_steps,
            self.config.batch_rows,
            self.config.seeds,
            self._best_scores(),
        )
        if self._resident is None:
            losses = self._stream(self.data.train(number), number, pace)
        else:
            losses = self._scan(self._resident, number, pace)
        trained_s = time.perf_counter() - train_start
        params = self.state.params
        scores = self.objective.evaluate(params, self._evaluated, self.schedule.normalisation, self.config)
        for name in self.objective.names:
            for s, value in enumerate(scores[name]):
                if value > self.score[name][s] or self.best_epoch[name][s] < 0:
                    self.score[name][s], self.best_epoch[name][s] = float(value), number
                    _copy_seed(self.best[name], params[name], s)
        self.history.append(
            {
                "epoch": number,
                "loss": {n: [float(v) for v in losses[n]] for n in self.objective.names},
                "validation": {n: [float(v) if np.isfinite(v) else None for v in scores[n]] for n in scores},
                "resident": self._resident is not None,
                "loading_s": train_start - epoch_start,
                "train_s": trained_s,
                "validation_s": time.perf_counter() - train_start - trained_s,
                "rows_per_s": self.data.n_train_rows / trained_s,
            }
        )
        pace.end(self.history[-1], self._best_scores())

    def _best_scores(self) -> list[float]:
        """Of every model and seed that was validated, finite ones."""
        return [s for row in self.score.values() for s in row if np.isfinite(s)]

    def _advance(self, advance: Callable[..., tuple[State, Losses]]) -> list[Losses]:
        """One step or scan of each group of seeds. Returns their losses, which the device may still be computing."""
        losses_of_groups = []
        for i, group in enumerate(self.groups):
            schedule = self.schedule._replace(seed_S=self.schedule.seed_S[group])
            self._states[i], losses = advance(self._states[i], schedule=schedule)
            losses_of_groups.append(losses)
        return losses_of_groups

    def _stream(self, batches: Iterator[HeadInput], epoch: int, pace: Pace) -> dict[str, NDArray]:
        """One epoch over streamed batches; at most two steps are queued on the device."""
        sums = {n: np.zeros(len(self.config.seeds)) for n in self.objective.names}
        queued: list[tuple[int, NDArray, list[Losses]]] = []
        n_steps = 0

        def finish(number: int, rows: NDArray, losses: list[Losses]) -> None:
            values = _joined(losses)
            self._guard(values, epoch, number, rows)
            for name, value in values.items():
                sums[name] += value
            pace.at(number + 1, float(np.mean([v.mean() for v in values.values()])))

        def prepared() -> Iterator[tuple[Tree, NDArray]]:
            for batch in batches:
                row = np.asarray(batch.row_B)
                if (row >= 0).any():  # a step on padding alone would still change parameters by momentum and decay
                    yield jax.device_put(self.objective.prepare(pad_rows(batch, self.config.batch_rows))), row

        for batch, rows in read_ahead(prepared(), self.config.read_ahead):
            losses = self._advance(partial(step, self.recipe, batch=batch))
            queued.append((n_steps, rows, losses))
            n_steps += 1
            if len(queued) > 1:
                finish(*queued.pop(0))
        for item in queued:
            finish(*item)
        return {n: s / n_steps for n, s in sums.items()}

    def _scan(self, resident: Resident, epoch: int, pace: Pace) -> dict[str, NDArray]:
        """One epoch over data on the device, in scans of one shape."""
        sums = {n: np.zeros(len(self.config.seeds)) for n in self.objective.names}
        index = resident.epoch(epoch)
        for start in range(0, len(index), CHUNK_STEPS):
            part = index[start : start + CHUNK_STEPS]
            chunk = np.full((CHUNK_STEPS, index.shape[1]), -1, np.int32)
            chunk[: len(part)] = part
            losses = self._advance(partial(scan, self.recipe, resident=resident.rows, index_NxB=chunk))
            values = {n: v[: len(part)] for n, v in _joined(losses).items()}
            for i, index_B in enumerate(part):
                self._guard({n: v[i] for n, v in values.items()}, epoch, start + i, resident.row[index_B[index_B >= 0]])
            for name, value in values.items():
                sums[name] += value.sum(axis=0)
            pace.at(start + len(part), float(np.mean([v[-1].mean() for v in values.values()])))
        return {n: s / len(index) for n, s in sums.items()}

    def _guard(self, losses: Mapping[str, NDArray], epoch: int, number: int, rows: NDArray) -> None:
        bad = {
            name: [s for s, v in zip(self.config.seeds, value, strict=True) if not np.isfinite(v)]
            for name, value in losses.items()
        }
        names = "; ".join(f"{name} (seeds {', '.join(map(str, seeds))})" for name, seeds in bad.items() if seeds)
        if names:
            raise NotFinite(
                f"loss is not finite at epoch {epoch + 1}, step {number + 1}, a batch of {len(rows)} rows from "
                f"{rows.min()} to {rows.max()} ({', '.join(map(str, rows[:8]))} …): {names}. Look for NaN in these rows' "
                "features (status other than OK?), or lower learning_rate"
            )


def _joined(groups: list[Losses]) -> dict[str, NDArray]:
    """Losses of each model over all groups; the seed axis is last."""
    return {n: np.concatenate([np.asarray(g[n]) for g in groups], axis=-1) for n in groups[0]}


def _copy_seed(best: Tree, params: Tree, seed: int) -> None:
    for kept, new in zip(jax.tree.leaves(best), jax.tree.leaves(params), strict=True):
        kept[seed] = np.asarray(new[seed])
