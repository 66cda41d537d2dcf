"""The training loop: many models at once, seeds by vmap, one pass over the data; knows nothing of what is learnt."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from heads import checkpoint
from heads.errors import BadInput, NotFinite
from heads.feed import Data, read_ahead, segment_order
from heads.inputs import HeadInput, concatenate, pad_rows
from heads.losses import LossWeights
from heads.normalisation import Normalisation, measure, standardise
from heads.progress import Listener, Report

Array = Any
Tree = Any

CHUNK_STEPS = 64
"""Steps of one scan over data that lies on the device; between chunks the host sees losses and reports."""


@dataclass(frozen=True)
class FitConfig:
    """How to train. The same numbers come out for the same configuration, data and machine kind."""

    epochs: int = 5
    batch_rows: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup: float = 0.05
    """Share of all steps over which the learning rate rises from 0; then it falls to 0 along a cosine."""
    clip_norm: float = 1.0
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Each seed has its own initial parameters and dropout; all see the same batches."""
    losses: LossWeights = LossWeights()
    patience: int = 3
    """Stop when no head of no seed has improved for this many epochs; 0 never stops early. The best epoch is kept anyway."""
    compute_dtype: str = "float32"
    """float32 or bfloat16; parameters, losses and the optimiser stay float32."""
    normalisation_rows: int | None = 8192
    """Rows that means and standard deviations come from (the first of epoch 0's order, a random sample); None: all."""
    resident_bytes: int | None = None
    """Training data up to this size stays on the device and epochs run by scan; None: 60 % of a GPU's memory, else 1 GB."""
    read_ahead: int = 2
    """Batches read while the device works."""
    checkpoint_dir: Path | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_rows"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name}={getattr(self, name)}: at least 1")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise BadInput(f"seeds={self.seeds}: at least one, all different")
        if self.compute_dtype not in ("float32", "bfloat16"):
            raise BadInput(f"compute_dtype={self.compute_dtype!r}; choose float32 or bfloat16")
        if self.losses.ranking and not (self.losses.huber or self.losses.ccc):
            raise BadInput("a ranking loss alone leaves the scale of the scores open: keep huber or ccc above 0")

    def to_json(self) -> dict[str, Any]:
        """Everything that shapes the numbers, as plain JSON."""
        return {k: v for k, v in asdict(self).items() if k not in ("checkpoint_dir", "read_ahead", "resident_bytes")}


class Objective(Protocol):
    """What is learnt. Parameters are {name: tree}; every name is a model of its own with its own optimiser state."""

    @property
    def names(self) -> tuple[str, ...]:
        """The models, trained side by side."""
        ...

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint compares."""
        ...

    def init(self, key: Array, sample: HeadInput) -> dict[str, Tree]:
        """Fresh parameters of one seed."""
        ...

    def prepare(self, batch: HeadInput) -> Tree:
        """The padded batch as the device gets it; runs on the host."""
        ...

    def losses(self, params: Mapping[str, Tree], batch: Tree, key: Array, dtype: Any) -> dict[str, Array]:
        """One seed's loss of each model on a standardised batch."""
        ...

    def evaluate(self, params: Mapping[str, Tree], data: Data, normalisation: Normalisation) -> dict[str, NDArray]:
        """For each model and seed (S,) how good it is on the validation split; higher is better."""
        ...


class State(NamedTuple):
    """All seeds' parameters and optimiser states (leading axis S), and the step."""

    params: dict[str, Tree]
    optimiser: dict[str, Tree]
    step: Array


@dataclass(frozen=True)
class Trained:
    """The best epoch of every model and seed. params: {name: tree of NumPy arrays, leading axis S}."""

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
    if normalisation is None:
        first = data.train(0)
        normalisation = measure(first, batch_rows=config.batch_rows, max_rows=config.normalisation_rows)
    engine = _Engine(objective, config, normalisation, -(-data.n_train_rows // config.batch_rows))
    sample = next(iter(data.train(0)))
    state = engine.fresh(sample)
    best = jax.tree.map(np.array, state.params)
    score = {name: [float("-inf")] * len(config.seeds) for name in objective.names}
    best_epoch = {name: [-1] * len(config.seeds) for name in objective.names}
    history: list[dict[str, Any]] = []
    settings = {"fit": config.to_json(), "models": objective.to_json()}

    if config.checkpoint_dir is not None:
        template = {"state": state, "best": best, "normalisation": normalisation}
        found = checkpoint.load(config.checkpoint_dir, template, config=settings, store=store)
        if found is not None:
            saved, about = found
            state, best = jax.tree.map(jnp.asarray, saved["state"]), jax.tree.map(np.array, saved["best"])
            engine.normalisation = normalisation = saved["normalisation"]
            history, best_epoch = about["history"], about["best_epoch"]
            score = {n: [float("-inf") if s is None else s for s in row] for n, row in about["score"].items()}

    resident = _Resident.load(objective, data, config, sample) if len(history) < config.epochs else None
    for epoch in range(len(history), config.epochs):
        if config.patience and epoch and all(epoch - 1 - e >= config.patience for r in best_epoch.values() for e in r):
            break
        started = time.perf_counter()
        shown = max((s for row in score.values() for s in row), default=float("-inf"))
        listen = _Listening(progress, epoch, config, engine.epoch_steps, shown if np.isfinite(shown) else None)
        batches = resident.epoch(epoch) if resident else None
        if batches is None:
            state, losses = engine.stream_epoch(state, data.train(epoch), epoch, listen)
        else:
            assert resident is not None
            state, losses = engine.scan_epoch(state, resident.rows, batches, epoch, listen)
        trained_s = time.perf_counter() - started
        found_scores = objective.evaluate(state.params, data, normalisation)
        for name in objective.names:
            for s, value in enumerate(found_scores[name]):
                if value > score[name][s]:
                    score[name][s], best_epoch[name][s] = float(value), epoch
                    _keep(best[name], state.params[name], s)
        history.append(
            {
                "epoch": epoch,
                "loss": {n: [float(v) for v in losses[n]] for n in objective.names},
                "validation": {
                    n: [float(v) if np.isfinite(v) else None for v in found_scores[n]] for n in objective.names
                },
                "train_s": trained_s,
                "validation_s": time.perf_counter() - started - trained_s,
                "rows_per_s": data.n_train_rows / trained_s,
            }
        )
        if config.checkpoint_dir is not None:
            finite = {n: [s if np.isfinite(s) else None for s in row] for n, row in score.items()}
            about = {"history": history, "best_epoch": best_epoch, "score": finite}
            tree = {"state": state, "best": best, "normalisation": normalisation}
            checkpoint.save(config.checkpoint_dir, tree, about, config=settings, store=store, count=epoch)
    return Trained(best, normalisation, history, best_epoch, engine.compiled_steps)


def _keep(best: Tree, params: Tree, seed: int) -> None:
    for kept, new in zip(jax.tree.leaves(best), jax.tree.leaves(params), strict=True):
        kept[seed] = np.asarray(new[seed])


class _Listening:
    """Turns steps into reports, at most ten a second."""

    def __init__(
        self, listener: Listener | None, epoch: int, config: FitConfig, steps: int, best: float | None
    ) -> None:
        self.listener, self.epoch, self.config, self.steps, self.best = listener, epoch, config, steps, best
        self.started = self.last = time.perf_counter()

    def __call__(self, step: int, loss: float) -> None:
        now = time.perf_counter()
        if self.listener is None or (now - self.last < 0.1 and step < self.steps):
            return
        self.last = now
        rate = step * self.config.batch_rows / max(now - self.started, 1e-9)
        report = Report(self.epoch, self.config.epochs, step, max(self.steps, step), loss, rate, self.best)
        self.listener(report)


class _Engine:
    """The compiled step, streamed or scanned, and its guard against losses that are not finite."""

    def __init__(self, objective: Objective, config: FitConfig, normalisation: Normalisation, epoch_steps: int) -> None:
        self.objective, self.config, self.normalisation = objective, config, normalisation
        self.epoch_steps = epoch_steps
        steps = epoch_steps * config.epochs
        warmup = max(1, min(round(config.warmup * steps), steps - 1))
        rate = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, warmup, max(steps, warmup + 1))
        self.optimiser = optax.chain(
            optax.clip_by_global_norm(config.clip_norm),
            optax.adamw(rate, weight_decay=config.weight_decay, mask=_matrices),
        )
        self._step = jax.jit(self._advance, donate_argnums=0)
        self._scan = jax.jit(self._advance_chunk, donate_argnums=0)

    @property
    def compiled_steps(self) -> int:
        """How many shapes the training step was compiled for."""
        return int(self._step._cache_size() + self._scan._cache_size())

    def fresh(self, sample: HeadInput) -> State:
        keys = jnp.stack([jax.random.key(s) for s in self.config.seeds])
        dtype = jnp.dtype(self.config.compute_dtype)
        small = standardise(jax.tree.map(lambda a: jnp.asarray(a[:2]), sample), self.normalisation, jnp.float32)
        params = jax.vmap(lambda key: self.objective.init(key, small))(keys)
        del dtype
        optimiser = {name: jax.vmap(self.optimiser.init)(p) for name, p in params.items()}
        return State(params, optimiser, jnp.int32(0))

    def _advance(self, state: State, batch: Tree, normalisation: Normalisation) -> tuple[State, dict[str, Array]]:
        dtype = jnp.dtype(self.config.compute_dtype)
        rows = batch["rows"]
        batch = {**batch, "rows": standardise(rows, normalisation, dtype)}
        seeds = jnp.asarray(np.array(self.config.seeds, np.uint32))
        keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.fold_in(jax.random.key(7), seed), state.step))(seeds)

        def total(params: dict[str, Tree], key: Array) -> tuple[Array, dict[str, Array]]:
            losses = self.objective.losses(params, batch, key, dtype)
            return sum(losses.values(), start=jnp.float32(0.0)), losses

        grads, losses = jax.vmap(jax.grad(total, has_aux=True))(state.params, keys)
        params, optimiser = {}, {}
        for name in state.params:
            with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an int32 count
                updates, optimiser[name] = jax.vmap(self.optimiser.update)(
                    grads[name], state.optimiser[name], state.params[name]
                )
            params[name] = optax.apply_updates(state.params[name], updates)
        return State(params, optimiser, state.step + 1), losses

    def _advance_chunk(
        self, state: State, resident: Tree, index_NxB: Array, normalisation: Normalisation
    ) -> tuple[State, dict[str, Array]]:
        shape = (len(self.config.seeds),)

        def one(state: State, index_B: Array) -> tuple[State, dict[str, Array]]:
            def skip(state: State) -> tuple[State, dict[str, Array]]:
                return state, {n: jnp.zeros(shape, jnp.float32) for n in self.objective.names}

            def go(state: State) -> tuple[State, dict[str, Array]]:
                return self._advance(state, {"rows": _gather(resident, index_B)}, normalisation)

            return jax.lax.cond(jnp.any(index_B >= 0), go, skip, state)

        return jax.lax.scan(one, state, index_NxB)

    def stream_epoch(
        self, state: State, batches: Iterator[HeadInput], epoch: int, listen: _Listening
    ) -> tuple[State, dict[str, NDArray]]:
        """One epoch over batches as they come; at most two steps are under way."""
        sums = {n: np.zeros(len(self.config.seeds)) for n in self.objective.names}
        under_way: list[tuple[int, NDArray, dict[str, Array]]] = []
        step = 0

        def finish(step: int, rows: NDArray, losses: dict[str, Array]) -> None:
            values = {n: np.asarray(v) for n, v in losses.items()}
            self._guard(values, epoch, step, rows)
            for name, value in values.items():
                sums[name] += value
            listen(step + 1, float(np.mean([v.mean() for v in values.values()])))

        ready = (self._prepare(b) for b in batches)
        for step, (batch, rows) in enumerate(read_ahead(ready, self.config.read_ahead)):
            state, losses = self._step(state, batch, self.normalisation)
            under_way.append((step, rows, losses))
            if len(under_way) > 1:
                finish(*under_way.pop(0))
        for left in under_way:
            finish(*left)
        return state, {n: s / (step + 1) for n, s in sums.items()}

    def _prepare(self, batch: HeadInput) -> tuple[Tree, NDArray]:
        prepared = self.objective.prepare(pad_rows(batch, self.config.batch_rows))
        return prepared, np.asarray(batch.row_B)

    def scan_epoch(
        self, state: State, resident: Tree, index: NDArray[np.int32], epoch: int, listen: _Listening
    ) -> tuple[State, dict[str, NDArray]]:
        """One epoch over data that lies on the device, in chunks of one shape."""
        sums = {n: np.zeros(len(self.config.seeds)) for n in self.objective.names}
        for start in range(0, len(index), CHUNK_STEPS):
            part = index[start : start + CHUNK_STEPS]
            chunk = np.full((CHUNK_STEPS, index.shape[1]), -1, np.int32)
            chunk[: len(part)] = part
            state, losses = self._scan(state, resident, chunk, self.normalisation)
            values = {n: np.asarray(v)[: len(part)] for n, v in losses.items()}
            for i in range(len(part)):
                at = part[i][part[i] >= 0]
                self._guard({n: v[i] for n, v in values.items()}, epoch, start + i, at, resident)
            for name, value in values.items():
                sums[name] += value.sum(axis=0)
            listen(start + len(part), float(np.mean([v[-1].mean() for v in values.values()])))
        return state, {n: s / len(index) for n, s in sums.items()}

    def _guard(
        self, losses: Mapping[str, NDArray], epoch: int, step: int, rows: NDArray, resident: Tree | None = None
    ) -> None:
        bad = {
            name: [s for s, v in zip(self.config.seeds, value, strict=True) if not np.isfinite(v)]
            for name, value in losses.items()
        }
        bad = {name: seeds for name, seeds in bad.items() if seeds}
        if not bad:
            return
        if resident is not None:
            rows = np.asarray(resident.row_B)[rows]
        who = "; ".join(f"{name} (seeds {', '.join(map(str, seeds))})" for name, seeds in bad.items())
        raise NotFinite(
            f"loss is not finite at epoch {epoch + 1}, step {step + 1}, a batch of {len(rows)} rows from {rows.min()} to "
            f"{rows.max()} ({', '.join(map(str, rows[:8]))} …): {who}. Look for NaN in these rows' features "
            "(status other than OK?), or lower learning_rate"
        )


def _matrices(params: Tree) -> Tree:
    """Weight decay acts on matrices; biases, mixes and tables of offsets are left alone."""
    return jax.tree_util.tree_map_with_path(lambda path, p: p.ndim >= 2 and "offset" not in str(path[-1]), params)


def _gather(resident: HeadInput, index_B: Array) -> HeadInput:
    """Rows of the resident data; −1 gives a padded row."""
    real_B = index_B >= 0
    rows = jax.tree.map(lambda a: jnp.take(a, jnp.maximum(index_B, 0), axis=0), resident)
    changed = {
        name: getattr(rows, name) & real_B[:, None]
        for name in ("audio_mask_BxT", "midi_mask_BxT", "valid_BxK")
        if getattr(rows, name) is not None
    }
    nowhere = {name: jnp.where(real_B, getattr(rows, name), -1) for name in ("row_B", "segment_B")}
    return rows._replace(**changed, **nowhere, weight_B=jnp.where(real_B, rows.weight_B, 0.0))


@dataclass(frozen=True)
class _Resident:
    """The whole training split on the device."""

    rows: HeadInput
    segment: NDArray
    batch_rows: int

    @staticmethod
    def load(objective: Objective, data: Data, config: FitConfig, sample: HeadInput) -> _Resident | None:
        """None where the split is larger than allowed, or batches need work on the host."""
        row_bytes = sum(np.asarray(a[:1]).nbytes for a in jax.tree.leaves(sample))
        limit = _resident_limit() if config.resident_bytes is None else config.resident_bytes
        if row_bytes * data.n_train_rows > limit or not getattr(objective, "scannable", False):
            return None
        whole = concatenate(list(read_ahead(data.train(0), config.read_ahead)))
        order = np.argsort(np.asarray(whole.row_B), kind="stable")
        whole = jax.tree.map(lambda a: np.asarray(a)[order], whole)
        return _Resident(jax.device_put(whole), np.asarray(whole.segment_B), config.batch_rows)

    def epoch(self, epoch: int) -> NDArray[np.int32]:
        """index_NxB of this epoch's batches, −1 where padded; segments are shuffled, their rows stay together."""
        order = segment_order(self.segment, np.random.default_rng([epoch, len(self.segment)]))
        steps = -(-len(order) // self.batch_rows)
        index = np.full(steps * self.batch_rows, -1, np.int32)
        index[: len(order)] = order
        return index.reshape(steps, self.batch_rows)


def _resident_limit() -> int:
    device = jax.devices()[0]
    if device.platform == "cpu":
        return 10**9
    stats = device.memory_stats() or {}
    return int(0.6 * stats.get("bytes_limit", 0))


@partial(jax.jit, static_argnames=("cast",))
def cast_tree(tree: Tree, cast: str) -> Tree:
    """Every floating leaf in another dtype."""
    return jax.tree.map(lambda a: a.astype(cast) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)
