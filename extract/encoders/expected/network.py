"""Small networks that numpy alone computes, and their arrays in a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Network:
    """Layers with ReLU between them. weights: one float32 (inputs, outputs) per layer; biases: one (outputs,) per layer."""

    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]

    def __call__(self, inputs: Floats) -> Floats:
        """The one output, float32 (rows,), of inputs float32 (rows, inputs)."""
        x = inputs
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = np.maximum(x @ weight + bias, 0)
        return np.asarray((x @ self.weights[-1] + self.biases[-1])[:, 0])

    @property
    def n_inputs(self) -> int:
        """Length of an input row."""
        return len(self.weights[0])

    @classmethod
    def constant(cls, n_inputs: int, value: float) -> Network:
        """A network that gives this value for every input."""
        return cls((np.zeros((n_inputs, 1), np.float32),), (np.array([value], np.float32),))

    @classmethod
    def drawn(cls, n_inputs: int, hidden: int, rng: np.random.Generator) -> Network:
        """Random weights with one hidden layer."""
        sizes = (n_inputs, hidden, 1)
        weights = [rng.standard_normal((a, b), np.float32) / np.float32(np.sqrt(a)) for a, b in pairwise(sizes)]
        return cls(tuple(weights), tuple(np.zeros(b, np.float32) for b in sizes[1:]))

    def arrays(self, prefix: str) -> dict[str, Floats]:
        """Its arrays under names that begin with prefix."""
        weights = {f"{prefix}/weight{i}": a for i, a in enumerate(self.weights)}
        return weights | {f"{prefix}/bias{i}": a for i, a in enumerate(self.biases)}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray], prefix: str) -> Network:
        """Inverse of `arrays`. Raises KeyError for a missing array, ValueError for one that does not fit."""
        n = sum(name.startswith(f"{prefix}/weight") for name in arrays)
        weights, biases = (
            tuple(np.asarray(arrays[f"{prefix}/{kind}{i}"], np.float32) for i in range(max(n, 1)))
            for kind in ("weight", "bias")
        )
        sizes = [weights[0].shape[0], *(len(bias) for bias in biases)]
        if [w.shape for w in weights] != list(pairwise(sizes)) or sizes[-1] != 1:
            raise ValueError(
                f"{prefix}: layers of shapes {', '.join(str(w.shape) for w in weights)} do not fit together"
            )
        if not all(np.isfinite(a).all() for a in (*weights, *biases)):
            raise ValueError(f"{prefix}: numbers that are not finite")
        return cls(weights, biases)
