"""One compiled training step for many models and seeds, streamed or scanned; compiled once per set of models and shapes.

Everything that differs between fits (rate, seeds, normalisation, data) is an argument, so that folds share compiled code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from keybed.heads.data import Data
from keybed.heads.inputs import HeadInput
from keybed.heads.normalisation import Normalisation, standardise
from keybed.heads.optimiser import FlatAdamW
from keybed.heads.xla import jit

Array = Any
Tree = Any


class Objective(Protocol):
    """The training objective of one or more models; hashable. Parameters are {model: tree}."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models, trained side by side."""
        ...

    @property
    def scannable(self) -> bool:
        """Whether batches need no work on the host, so that an epoch may be one scan."""
        ...

    def to_json(self) -> dict[str, Any]:
        """The description that a checkpoint compares."""
        ...

    def init(self, key: Array, sample: HeadInput) -> dict[str, Tree]:
        """Initial parameters of one seed for standardised inputs shaped like `sample`."""
        ...

    def prepare(self, batch: HeadInput) -> Tree:
        """{"rows": the padded batch, …} with everything that the host adds for the step."""
        ...

    def losses(self, params: Mapping[str, Tree], batch: Tree, key: Array, dtype: Any) -> dict[str, Array]:
        """Loss of each model for one seed on a standardised batch."""
        ...

    def evaluate(
        self, params: Mapping[str, Tree], data: Data, normalisation: Normalisation, config: Any
    ) -> dict[str, NDArray]:
        """Validation score (S,) of each model; higher is better, NaN where undefined."""
        ...


class State(NamedTuple):
    """Parameters and optimiser states of all seeds (leading axis S), and the number of steps taken."""

    params: dict[str, Tree]
    optimiser: Tree
    step: Array


class Recipe(NamedTuple):
    """The static arguments of a step."""

    objective: Objective
    optimiser: FlatAdamW
    dtype: str


class Schedule(NamedTuple):
    """The dynamic arguments of a step. rate_N: learning rate of each step; the last one holds for later steps."""

    seed_S: NDArray[np.uint32]
    rate_N: NDArray[np.float32]
    normalisation: Normalisation


def fresh(recipe: Recipe, schedule: Schedule, sample: HeadInput) -> State:
    """Initial parameters of all seeds; those of a seed do not depend on the other seeds."""
    small = jax.tree.map(lambda a: np.asarray(a[:2]), sample)
    per_seed = [_fresh(recipe, seed, small, schedule.normalisation) for seed in schedule.seed_S]
    params, optimiser = jax.tree.map(lambda *leaves: jnp.stack(leaves), *per_seed)
    return State(params, optimiser, jnp.int32(0))


@jit(level=0, static_argnums=0)
def _fresh(recipe: Recipe, seed: Array, small: HeadInput, normalisation: Normalisation) -> tuple[dict[str, Tree], Tree]:
    params = recipe.objective.init(jax.random.key(seed), standardise(small, normalisation, jnp.float32))
    return params, recipe.optimiser.init(params)


@jit(level=1, static_argnums=0, donate_argnums=1)
def step(recipe: Recipe, state: State, batch: Tree, schedule: Schedule) -> tuple[State, dict[str, Array]]:
    """One batch for all models and seeds: (new state, {model: loss_S})."""
    return _advance(recipe, state, batch, schedule)


@jit(level=1, static_argnums=0, donate_argnums=1)
def scan(
    recipe: Recipe, state: State, resident: HeadInput, index_NxB: Array, schedule: Schedule
) -> tuple[State, dict[str, Array]]:
    """N batches of resident rows: (new state, {model: loss_NxS}). Index −1 is a padded row; a batch of only those is skipped."""
    no_loss = {n: jnp.zeros(len(schedule.seed_S), jnp.float32) for n in recipe.objective.names}

    def one(state: State, index_B: Array) -> tuple[State, dict[str, Array]]:
        def advance(state: State) -> tuple[State, dict[str, Array]]:
            return _advance(recipe, state, {"rows": _gather(resident, index_B)}, schedule)

        return jax.lax.cond(jnp.any(index_B >= 0), advance, lambda state: (state, no_loss), state)

    return jax.lax.scan(one, state, index_NxB)


def seed_groups(n_seeds: int) -> list[slice]:
    """The seeds that one compiled step takes together: one on a CPU, all elsewhere.

    On a CPU the products of one seed stay in the caches: five seeds in one step took 1.9 times as long as five steps of one
    seed in a trial.
    """
    if jax.default_backend() == "cpu":
        return [slice(i, i + 1) for i in range(n_seeds)]
    return [slice(0, n_seeds)]


def take_seeds(tree: Tree, seeds: slice) -> Tree:
    """Slice the seed axis, which is the first, of every leaf."""
    return jax.tree.map(lambda leaf: leaf[seeds], tree)


def join_seeds(groups: Sequence[Tree]) -> Tree:
    """Inverse of `take_seeds` over all groups."""
    return groups[0] if len(groups) == 1 else jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *groups)


def compiled() -> int:
    """Number of shapes that `step` and `scan` were compiled for in this process."""
    return step.n_compiled() + scan.n_compiled()


def _advance(recipe: Recipe, state: State, batch: Tree, schedule: Schedule) -> tuple[State, dict[str, Array]]:
    dtype = jnp.dtype(recipe.dtype)
    batch = {**batch, "rows": standardise(batch["rows"], schedule.normalisation, dtype)}

    def total(params: dict[str, Tree], key: Array) -> tuple[Array, dict[str, Array]]:
        losses = recipe.objective.losses(params, batch, key, dtype)
        return sum(losses.values(), start=jnp.float32(0.0)), losses

    def one_seed(
        params: dict[str, Tree], optimiser: Tree, seed: Array
    ) -> tuple[dict[str, Tree], Tree, dict[str, Array]]:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(7), seed), state.step)
        grads, losses = jax.grad(total, has_aux=True)(params, key)
        params, optimiser = recipe.optimiser.update(grads, optimiser, params, rate)
        return params, optimiser, losses

    rate = jnp.asarray(schedule.rate_N)[jnp.minimum(state.step, len(schedule.rate_N) - 1)]
    params, optimiser, losses = jax.vmap(one_seed)(state.params, state.optimiser, schedule.seed_S)
    return State(params, optimiser, state.step + 1), losses


def _gather(resident: HeadInput, index_B: Array) -> HeadInput:
    real_B = index_B >= 0
    rows = jax.tree.map(lambda a: jnp.take(a, jnp.maximum(index_B, 0), axis=0), resident)
    changed = {
        name: getattr(rows, name) & real_B[:, None]
        for name in ("audio_mask_BxT", "midi_mask_BxT", "valid_BxK")
        if getattr(rows, name) is not None
    }
    unset = {name: jnp.where(real_B, getattr(rows, name), -1) for name in ("row_B", "segment_B")}
    return rows._replace(**changed, **unset, weight_B=jnp.where(real_B, rows.weight_B, 0.0))
