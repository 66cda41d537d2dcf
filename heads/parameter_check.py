"""Are saved parameters those that this version's heads have? Asked on loading, before anything is computed with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from keybed.heads.errors import CheckpointMismatch
from keybed.heads.inputs import HeadInput
from keybed.heads.normalisation import Normalisation

Tree = Any
Shapes = dict[str, tuple[int | None, ...]]
_NAMED = 6
"""So many names of each kind stand in the message."""
_MASKS = {"audio_BxTxC": "audio_mask_BxT", "midi_BxTxC": "midi_mask_BxT"}


def check(
    path: Path, fresh: Callable[[HeadInput], Tree], params: Mapping[str, Tree], normalisation: Normalisation
) -> None:
    """Compare saved parameters (leading axis S) with those that `fresh` makes for a batch of the features normalised here.

    Only names and shapes are made, nothing is computed. Raises CheckpointMismatch naming both sides.
    """
    expected, found = _expected(fresh, normalisation), {k: a.shape[1:] for k, a in _leaves(params).items()}
    missing, unexpected = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    other = [
        f"{name} {_words(found[name])} there, {_words(expected[name])} here"
        for name in sorted(expected.keys() & found.keys())
        if not _fits(found[name], expected[name])
    ]
    told = [
        f"{what}: {', '.join(names[:_NAMED])}{f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", other))
        if names
    ]
    if told:
        raise CheckpointMismatch(
            f"{path}: holds other parameters than this version's heads have ({'; '.join(told)}). Another version of Keybed "
            "fitted them: run the phase that wrote this file again, or load it with the version that wrote it"
        )


def _expected(fresh: Callable[[HeadInput], Tree], normalisation: Normalisation) -> Shapes:
    """Shapes for two numbers of bins; an axis that follows the number of bins, which no fit keeps, is None."""
    short, long = (_leaves(jax.eval_shape(fresh, _batch(normalisation, n_bins))) for n_bins in (2, 3))
    return {
        name: tuple(a if a == b else None for a, b in zip(leaf.shape, long[name].shape, strict=True))
        for name, leaf in short.items()
    }


def _batch(normalisation: Normalisation, n_bins: int) -> HeadInput:
    """Shapes of two rows of the features that were normalised."""
    found: dict[str, Any] = {"row_B": jax.ShapeDtypeStruct((2,), np.int32)}
    for name, (mean, _) in normalisation.features.items():
        if name in _MASKS:
            found[name] = jax.ShapeDtypeStruct((2, n_bins, *mean.shape), np.float32)
            found[_MASKS[name]] = jax.ShapeDtypeStruct((2, n_bins), np.bool_)
        else:
            found[name] = jax.ShapeDtypeStruct((2, *mean.shape), np.float32)
    return HeadInput(**found)


def _leaves(tree: Tree) -> dict[str, Any]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _fits(found: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(found) == len(expected) and all(b in (None, a) for a, b in zip(found, expected, strict=True))


def _words(shape: tuple[int | None, ...]) -> str:
    return "×".join("any" if n is None else str(n) for n in shape) or "a number"
