"""The configuration of a fit, and its learning-rate schedule."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from keybed.heads.errors import BadInput
from keybed.heads.losses import LossWeights


@dataclass(frozen=True)
class FitConfig:
    """How to train. The same configuration, data and kind of machine give the same numbers.

    On a GPU they are equal to the last bit only with XLA_FLAGS=--xla_gpu_deterministic_ops=true: XLA may choose kernels by timing.
    """

    epochs: int = 5
    batch_rows: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup: float = 0.05
    """Share of all steps in which the learning rate rises linearly from 0; then it falls to 0 along a cosine."""
    clip_norm: float = 1.0
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Each seed has its own initial parameters and dropout; all seeds get the same batches."""
    losses: LossWeights = field(default_factory=LossWeights)
    patience: int = 3
    """Stop when no head and seed has improved for this many epochs; 0 never stops early. The best epoch is kept anyway."""
    compute_dtype: str = "float32"
    """float32 or bfloat16; parameters, losses and optimiser states stay float32."""
    normalisation_rows: int | None = 8192
    """Rows that means and standard deviations are measured on: the first of epoch 0, a random sample; None: all rows."""
    resident_bytes: int | None = None
    """Training data up to this size stay on the device and an epoch is a scan; None: 60 % of a GPU's memory, 1 GB on a CPU.

    Rows on the device are shuffled over the whole split, streamed rows over a few shards: the order and so the numbers differ.
    """
    read_ahead: int = 2
    """Number of batches read while the device works."""
    checkpoint_dir: Path | None = None
    """Where training states are saved after each epoch, and where a fit resumes."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_rows"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name}={getattr(self, name)}: at least 1")
        if not 0 < self.learning_rate < float("inf"):
            raise BadInput(f"learning_rate={self.learning_rate:g}: a number above 0")
        if not 0 <= self.weight_decay < float("inf"):
            raise BadInput(f"weight_decay={self.weight_decay:g}: a number from 0 up")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise BadInput(f"seeds={self.seeds}: at least one, all different, none negative")
        if self.compute_dtype not in ("float32", "bfloat16"):
            raise BadInput(f"compute_dtype={self.compute_dtype!r}; choose float32 or bfloat16")
        if self.losses.ranking and not (self.losses.huber or self.losses.ccc):
            raise BadInput("a ranking loss alone leaves the scale of the scores open: keep huber or ccc above 0")

    def to_json(self) -> dict[str, Any]:
        """Every setting that changes the numbers, as plain JSON."""
        return {k: v for k, v in asdict(self).items() if k not in ("checkpoint_dir", "read_ahead")}

    def rates(self, n_steps: int) -> NDArray[np.float32]:
        """float32 learning rate of each step: linear warm-up from 0, then a cosine to 0 (optax.warmup_cosine_decay_schedule).

        Padded with the last rate to a power of two, so that fits of nearly equal size share one compiled step.
        """
        warmup = max(1, min(round(self.warmup * n_steps), n_steps - 1))
        with jax.numpy_dtype_promotion("standard"):
            schedule = optax.warmup_cosine_decay_schedule(0.0, self.learning_rate, warmup, max(n_steps, warmup + 1))
            rate = np.asarray(jax.jit(jax.vmap(schedule))(jnp.arange(1, n_steps + 1)), np.float32)
        return np.pad(rate, (0, max(1024, 1 << (n_steps - 1).bit_length()) - n_steps), mode="edge")
