"""The training loop: one pass over the data trains every model and seed; knows nothing of what is learnt."""

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
from keybed.heads.data import Data, Resident, read_ahead
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
from keybed.heads.xla import keep_freed_memory

Tree = Any
Losses = dict[str, Any]
"""Model → losses of a group of seeds, on the device."""

CHUNK_STEPS = 64
"""Steps of one scan over data that lies on the device; between chunks the host sees losses and reports."""


@dataclass(frozen=True)
class Trained:
    """The best epoch of every model and seed. params: {name: tree of NumPy arrays, leading axis S}.

    compiled_steps: shapes of the training step that this fit compiled, 0 where an earlier fit of the process had them.
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
    """Train every model × seed in one pass over the data an epoch; goes on from config.checkpoint_dir where it can.

    Raises BadInput, NotFinite and CheckpointMismatch (see heads/errors.py).
    """
    if data.n_train_rows < config.batch_rows:
        raise BadInput(
            f"batch_rows={config.batch_rows} but the training split has {data.n_train_rows} rows; "
            f"use batch_rows of at most {data.n_train_rows}"
        )
    keep_freed_memory()
    if normalisation is None:
        first = data.train(0)
        normalisation = measure(first, batch_rows=config.batch_rows, max_rows=config.normalisation_rows)
    run = _Run(objective, data, config, normalisation, progress)
    settings = {"fit": config.to_json(), "models": objective.to_json(), "data": {"n_train_rows": data.n_train_rows}}
    if config.checkpoint_dir is not None:
        found = checkpoint.load(config.checkpoint_dir, run.tree(), config=settings, store=store)
        if found is not None:
            other = differing(found[0]["normalisation"], normalisation)
            if other:
                raise CheckpointMismatch(
                    f"{config.checkpoint_dir}: the fit began on other data than it is given now: {', '.join(other)} differ in "
                    "their means or spreads over the training rows. Give another checkpoint_dir, or the data it began on"
                )
            run.restore(*found)
    while not run.finished:
        run.epoch()
        if config.checkpoint_dir is not None:
            about, count = run.about(), len(run.history)
            checkpoint.save(config.checkpoint_dir, run.tree(), about, config=settings, store=store, count=count)
    return Trained(run.best, run.schedule.normalisation, run.history, run.best_epoch, compiled() - run.compiled_before)


class _Run:
    """A fit under way: the state, the best so far, the history."""

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
        self._looked = False

    @property
    def state(self) -> State:
        """All seeds."""
        params, optimiser = join_seeds([(s.params, s.optimiser) for s in self._states])
        return State(params, optimiser, self._states[0].step)

    @state.setter
    def state(self, state: State) -> None:
        # a group's own copy of the count: steps give their state's memory away
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
        """All arrays that a checkpoint holds."""
        return {"state": self.state, "best": self.best, "normalisation": self.schedule.normalisation}

    def about(self) -> dict[str, Any]:
        """All else that a checkpoint holds, as JSON."""
        score = {n: [s if np.isfinite(s) else None for s in row] for n, row in self.score.items()}
        return {"history": self.history, "best_epoch": self.best_epoch, "score": score}

    def restore(self, tree: dict[str, Tree], about: dict[str, Any]) -> None:
        self.state, self.best = jax.tree.map(jnp.asarray, tree["state"]), jax.tree.map(np.array, tree["best"])
        self.schedule = self.schedule._replace(normalisation=tree["normalisation"])
        self.history, self.best_epoch = about["history"], about["best_epoch"]
        self.score = {n: [float("-inf") if s is None else s for s in row] for n, row in about["score"].items()}

    def epoch(self) -> None:
        """Train one epoch, validate, keep what improved."""
        number, begun = len(self.history), time.perf_counter()
        if not self._looked:
            self._resident, self._looked = Resident.load(self.data, self.config, self.objective.scannable), True
            jax.block_until_ready(self._resident and self._resident.rows)
        started = time.perf_counter()
        known = [s for row in self.score.values() for s in row if np.isfinite(s)]
        pace = Pace(self.progress, number, self.config.epochs, self.epoch_steps, self.config.batch_rows, known)
        if self._resident is None:
            losses = self._stream(self.data.train(number), number, pace)
        else:
            losses = self._scan(self._resident, number, pace)
        trained_s = time.perf_counter() - started
        params = self.state.params
        found = self.objective.evaluate(params, self.data, self.schedule.normalisation, self.config)
        for name in self.objective.names:
            for s, value in enumerate(found[name]):
                if value > self.score[name][s] or self.best_epoch[name][s] < 0:
                    self.score[name][s], self.best_epoch[name][s] = float(value), number
                    _copy_seed(self.best[name], params[name], s)
        self.history.append(
            {
                "epoch": number,
                "loss": {n: [float(v) for v in losses[n]] for n in self.objective.names},
                "validation": {n: [float(v) if np.isfinite(v) else None for v in found[n]] for n in found},
                "resident": self._resident is not None,
                "loading_s": started - begun,
                "train_s": trained_s,
                "validation_s": time.perf_counter() - started - trained_s,
                "rows_per_s": self.data.n_train_rows / trained_s,
            }
        )

    def _advance(self, go: Callable[..., tuple[State, Losses]]) -> list[Losses]:
        """One step or chunk of every group of seeds; losses as they come, perhaps not yet computed."""
        found = []
        for i, group in enumerate(self.groups):
            schedule = self.schedule._replace(seed_S=self.schedule.seed_S[group])
            self._states[i], losses = go(self._states[i], schedule=schedule)
            found.append(losses)
        return found

    def _stream(self, batches: Iterator[HeadInput], epoch: int, pace: Pace) -> dict[str, NDArray]:
        """One epoch over batches as they come; at most two steps are under way."""
        sums = {n: np.zeros(len(self.config.seeds)) for n in self.objective.names}
        under_way: list[tuple[int, NDArray, list[Losses]]] = []
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
                if (row >= 0).any():  # a step on nothing but padding would still move parameters by momentum and decay
                    yield jax.device_put(self.objective.prepare(pad_rows(batch, self.config.batch_rows))), row

        for batch, rows in read_ahead(prepared(), self.config.read_ahead):
            losses = self._advance(partial(step, self.recipe, batch=batch))
            under_way.append((n_steps, rows, losses))
            n_steps += 1
            if len(under_way) > 1:
                finish(*under_way.pop(0))
        for left in under_way:
            finish(*left)
        return {n: s / n_steps for n, s in sums.items()}

    def _scan(self, resident: Resident, epoch: int, pace: Pace) -> dict[str, NDArray]:
        """One epoch over data that lies on the device, in chunks of one shape."""
        sums = {n: np.zeros(len(self.config.seeds)) for n in self.objective.names}
        index = resident.epoch(epoch)
        for start in range(0, len(index), CHUNK_STEPS):
            part = index[start : start + CHUNK_STEPS]
            chunk = np.full((CHUNK_STEPS, index.shape[1]), -1, np.int32)
            chunk[: len(part)] = part
            losses = self._advance(partial(scan, self.recipe, resident=resident.rows, index_NxB=chunk))
            values = {n: v[: len(part)] for n, v in _joined(losses).items()}
            for i, at in enumerate(part):
                self._guard({n: v[i] for n, v in values.items()}, epoch, start + i, resident.row[at[at >= 0]])
            for name, value in values.items():
                sums[name] += value.sum(axis=0)
            pace.at(start + len(part), float(np.mean([v[-1].mean() for v in values.values()])))
        return {n: s / len(index) for n, s in sums.items()}

    def _guard(self, losses: Mapping[str, NDArray], epoch: int, number: int, rows: NDArray) -> None:
        bad = {
            name: [s for s, v in zip(self.config.seeds, value, strict=True) if not np.isfinite(v)]
            for name, value in losses.items()
        }
        who = "; ".join(f"{name} (seeds {', '.join(map(str, seeds))})" for name, seeds in bad.items() if seeds)
        if who:
            raise NotFinite(
                f"loss is not finite at epoch {epoch + 1}, step {number + 1}, a batch of {len(rows)} rows from "
                f"{rows.min()} to {rows.max()} ({', '.join(map(str, rows[:8]))} …): {who}. Look for NaN in these rows' "
                "features (status other than OK?), or lower learning_rate"
            )


def _joined(groups: list[Losses]) -> dict[str, NDArray]:
    """Each model's losses, seeds last."""
    return {n: np.concatenate([np.asarray(g[n]) for g in groups], axis=-1) for n in groups[0]}


def _copy_seed(best: Tree, params: Tree, seed: int) -> None:
    for kept, new in zip(jax.tree.leaves(best), jax.tree.leaves(params), strict=True):
        kept[seed] = np.asarray(new[seed])
