"""AdamW for many small models: all parameters in one vector, so that an update is a few long loops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from numpy.typing import NDArray

Array = Any
Tree = Any


@dataclass(frozen=True)
class FlatAdamW:
    """optax's clip_by_global_norm (per model), scale_by_adam and decay of matrices; the rate is an argument."""

    weight_decay: float
    clip_norm: float

    def init(self, params: Mapping[str, Tree]) -> Tree:
        """Optimiser state of the models of one seed."""
        return optax.scale_by_adam().init(ravel_pytree(dict(params))[0])

    def update(
        self, grads: Mapping[str, Tree], state: Tree, params: Mapping[str, Tree], rate: Array
    ) -> tuple[dict[str, Tree], Tree]:
        """One step of one seed: (new parameters, new optimiser state)."""
        names = sorted(params)
        flat, restore = ravel_pytree({n: params[n] for n in names})
        clipped = jnp.concatenate([_clip(ravel_pytree(grads[n])[0], self.clip_norm) for n in names])
        decay = jnp.asarray(np.concatenate([_decayed(params[n]) for n in names]) * np.float32(self.weight_decay))
        with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an int32 count
            direction, state = optax.scale_by_adam().update(clipped, state)
        return dict(restore(flat - rate * (direction + decay * flat))), state


def _clip(grad: Array, norm: float) -> Array:
    """Scale the vector to at most length `norm`. A vector with NaN stays NaN, so that the next loss shows it."""
    length = jnp.sqrt(jnp.sum(grad**2))
    return grad * jnp.where(length > norm, norm / length, 1.0)


def _decayed(params: Tree) -> NDArray[np.float32]:
    """1 for entries of matrices, 0 for biases, mixes and attention offsets, in the order of `ravel_pytree`."""
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    ones = [np.full(p.size, p.ndim >= 2 and "offset" not in str(path[-1]), np.float32) for path, p in leaves]
    return np.concatenate(ones)
