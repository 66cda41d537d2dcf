"""Per-channel means and standard deviations of training rows, and standardised batches."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from keybed.heads.errors import BadInput, NotFinite
from keybed.heads.inputs import HeadInput, pad_rows

Array = Any

FEATURES = ("audio_BxTxC", "midi_BxTxC", "audio_layers_BxSxC", "midi_layers_BxSxC")
FEATURE_MASKS = {"audio_BxTxC": "audio_mask_BxT", "midi_BxTxC": "midi_mask_BxT"}


class Normalisation(NamedTuple):
    """float32 means and standard deviations. features: name → (mean, 1/sd), each (C,) or (S, C). Scores: (K,).

    A constant channel has 1/sd = 0, so its standardised value is 0.
    """

    features: dict[str, tuple[Array, Array]]
    score_mean_K: Array
    score_sd_K: Array


def measure(batches: Iterable[HeadInput], *, batch_rows: int, max_rows: int | None) -> Normalisation:
    """Measure the first max_rows rows (None: all) in one pass.

    Raises BadInput where a feature has no unmasked bin or there are no rows, NotFinite where a feature holds NaN or infinity.
    """
    sums: dict[str, list[NDArray]] = {}
    shifts: dict[str, NDArray] = {}
    n_rows = 0
    for batch in batches:
        padded = pad_rows(batch, batch_rows)
        for name, (x, mask) in _columns(padded).items():
            if name not in shifts:
                shifts[name] = np.asarray(_mean(x, mask), np.float32)
            parts = [np.asarray(p, np.float64) for p in _moments(x, mask, shifts[name])]
            if not np.isfinite(parts).all():
                raise NotFinite(_not_finite(name, x, mask, np.asarray(padded.row_B)))
            sums[name] = [a + b for a, b in zip(sums[name], parts, strict=True)] if name in sums else parts
        n_rows += batch.n_rows
        if max_rows is not None and n_rows >= max_rows:
            break
    if not n_rows:
        raise BadInput("the training split has no rows")
    stats = {name: _finish(name, s, shifts[name]) for name, s in sums.items()}
    mean, sd = stats.pop("score_BxK")
    features = {}
    for name, (feature_mean, feature_sd) in stats.items():
        constant = feature_sd <= 1e-6 * np.maximum(1.0, np.abs(feature_mean))
        inverse = np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, feature_sd))
        features[name] = (np.float32(feature_mean), np.float32(inverse))
    return Normalisation(features, np.float32(mean), np.float32(np.where(sd > 1e-6, sd, 1.0)))


def differing(a: Normalisation, b: Normalisation) -> list[str]:
    """Names of features (and "score_BxK") whose mean or standard deviation differs, or that only one side has.

    Differences below 1/1000 of a standard deviation are ignored: another kind of machine sums in another order.
    """

    def sides(n: Normalisation) -> dict[str, tuple[Array, Array]]:
        return {**n.features, "score_BxK": (n.score_mean_K, 1 / np.asarray(n.score_sd_K))}

    def same(name: str) -> bool:
        (mean, inverse), (other_mean, other_inverse) = ([np.asarray(x) for x in side[name]] for side in (ours, theirs))
        if mean.shape != other_mean.shape:
            return False
        near = np.abs((mean - other_mean) * inverse) < 1e-3
        return bool(near.all() and np.allclose(inverse, other_inverse, rtol=1e-3))

    ours, theirs = sides(a), sides(b)
    return sorted(name for name in {*ours, *theirs} if name not in ours or name not in theirs or not same(name))


def _columns(batch: HeadInput) -> dict[str, tuple[NDArray, NDArray]]:
    """Every measured array with the mask of its leading axes."""
    columns = {"score_BxK": (batch.score_BxK, batch.valid_BxK)}
    for name in FEATURES:
        x = getattr(batch, name)
        if x is not None:
            mask = getattr(batch, FEATURE_MASKS[name]) if name in FEATURE_MASKS else np.asarray(batch.row_B) >= 0
            columns[name] = (x, mask)
    return columns


def _not_finite(name: str, x: NDArray, mask: NDArray, row_B: NDArray) -> str:
    finite = np.isfinite(np.asarray(x, np.float32)) | ~np.asarray(_broadcast_mask(x, mask)[0])
    rows = row_B[~finite.reshape(len(row_B), -1).all(axis=1)]
    named = ", ".join(map(str, rows[:8])) or "whose squares overflow"
    return f"{name} is not finite in {max(len(rows), 1)} of the rows to be trained on: rows {named}. Leave out rows whose status is not OK"


@jax.jit
def _mean(x: Array, mask: Array) -> Array:
    full, axes = _broadcast_mask(x, mask)
    return jnp.sum(jnp.where(full, x.astype(jnp.float32), 0.0), axes) / jnp.maximum(
        jnp.sum(full, axes).astype(jnp.float32), 1.0
    )


@jax.jit
def _moments(x: Array, mask: Array, shift: Array) -> tuple[Array, Array, Array]:
    full, axes = _broadcast_mask(x, mask)
    shift = shift.reshape((1,) * (x.ndim - shift.ndim) + shift.shape)
    moved = jnp.where(full, x.astype(jnp.float32) - shift, 0.0)
    return jnp.sum(full, axes).astype(jnp.float32), jnp.sum(moved, axes), jnp.sum(moved**2, axes)


def _broadcast_mask(x: Array, mask: Array) -> tuple[Array, tuple[int, ...]]:
    """The mask with x's shape, and the axes to sum over: rows and bins, never states or dimensions."""
    full = jnp.broadcast_to(mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim)), x.shape)
    return full, (0, 1) if x.ndim == 3 and mask.ndim == 2 else (0,)


def _finish(name: str, sums: list[NDArray], shift: NDArray) -> tuple[NDArray, NDArray]:
    n, total, squares = sums
    if name == "score_BxK":
        n = np.maximum(n, 1)  # a dimension that is never valid is never trained
    if np.any(n == 0):
        raise BadInput(f"{name} has no unmasked bin in the rows it was measured on")
    mean = total / n
    return shift + mean, np.sqrt(np.maximum(squares / n - mean**2, 0.0))


def standardise(batch: HeadInput, normalisation: Normalisation, dtype: Any) -> HeadInput:
    """The batch with features (x − mean)/sd in `dtype` (0 in masked bins) and scores in standard deviations (float32)."""
    changed: dict[str, Array] = {}
    for name, (mean, inverse_sd) in normalisation.features.items():
        x = getattr(batch, name)
        if x is None:
            continue
        mean, inverse_sd = (a.reshape((1,) * (x.ndim - a.ndim) + a.shape) for a in (mean, inverse_sd))
        z = (x.astype(jnp.float32) - mean) * inverse_sd
        if name in FEATURE_MASKS:
            z = jnp.where(getattr(batch, FEATURE_MASKS[name])[:, :, None], z, 0.0)
        changed[name] = z.astype(dtype)
    if batch.score_BxK is not None:
        z = (batch.score_BxK - normalisation.score_mean_K[None]) / normalisation.score_sd_K[None]
        changed["score_BxK"] = jnp.where(batch.valid_BxK, z, 0.0)
    return batch._replace(**changed)


def to_scores(z: Array, normalisation: Normalisation) -> Array:
    """Map standardised predictions (…, K) back to scores of 0 to 100."""
    shape = (1,) * (z.ndim - 1) + normalisation.score_mean_K.shape
    return z * normalisation.score_sd_K.reshape(shape) + normalisation.score_mean_K.reshape(shape)
