"""Projections of audio and MIDI into one space, trained by InfoNCE or SigLIP on true pairs.

A projection works bin by bin, so aligned frames can replace the encoders' frames in every head. The embedding of a row is
the mean over its valid bins, at length 1. A batch holds whole segments with all their variants (128 rows = 32 × 4).
"""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from numpy.typing import NDArray

from keybed.heads import checkpoint
from keybed.heads.contrast import excluded_pairs, info_nce, normalise, siglip
from keybed.heads.data import Data, read_ahead
from keybed.heads.errors import BadInput, NotFinite
from keybed.heads.fit_config import FitConfig
from keybed.heads.inputs import MODALITIES, HeadInput, pad_rows
from keybed.heads.normalisation import Normalisation, standardise
from keybed.heads.progress import Listener
from keybed.heads.train_loop import train

Array = Any
Tree = Any

NAME = "projection"


@dataclass(frozen=True)
class AlignConfig:
    """How to align. `fit` configures the training loop; its `losses` are not used."""

    loss: Literal["infonce", "siglip"] = "infonce"
    hidden: int = 256
    width: int = 128
    temperature: float = 0.07
    """Initial temperature of InfoNCE. SigLIP starts at 0.1 with bias −10, its authors' values."""
    window_s: float = 10.0
    """Windows of one recording that start closer than this many seconds overlap and are not negatives of each other."""
    fit: FitConfig = field(default_factory=lambda: FitConfig(epochs=12, batch_rows=128, seeds=(0,)))

    def __post_init__(self) -> None:
        if self.loss not in ("infonce", "siglip"):
            raise BadInput(f"loss={self.loss!r}; choose infonce or siglip")
        if self.hidden < 1 or self.width < 1:
            raise BadInput(f"hidden={self.hidden}, width={self.width}: at least 1")
        if not 0 < self.temperature < float("inf"):
            raise BadInput(f"temperature={self.temperature:g}: a number above 0")

    def to_json(self) -> dict[str, Any]:
        """Every setting that changes the numbers, as plain JSON."""
        shape = {k: getattr(self, k) for k in ("loss", "hidden", "width", "temperature", "window_s")}
        return {**shape, "fit": self.fit.to_json()}


@dataclass(frozen=True)
class AlignResult:
    """Fitted projections. params: tree of float32 arrays, leading axis S. best_epoch: [S]."""

    config: AlignConfig
    params: Tree
    normalisation: Normalisation
    history: list[dict[str, Any]]
    best_epoch: list[int]
    store: str

    def temperature(self, seed_index: int = 0) -> float:
        """The learned temperature."""
        return float(np.exp(self.params["log_temperature"][seed_index]))


class Projection(nn.Module):
    """Per bin: one hidden layer in parallel with a linear path."""

    hidden: int
    width: int

    @nn.compact
    def __call__(self, x_BxTxC: Array) -> Array:
        """Returns aligned_BxTxD."""
        hidden = nn.gelu(nn.Dense(self.hidden, name="hidden")(x_BxTxC))
        return nn.Dense(self.width, name="bend")(hidden) + nn.Dense(self.width, use_bias=False, name="line")(x_BxTxC)


@dataclass(frozen=True)
class _Contrastive:
    """The contrastive objective of one projection model, called "projection"."""

    loss: str
    hidden: int
    width: int
    temperature: float
    window_s: float
    scannable: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return (NAME,)

    def to_json(self) -> dict[str, Any]:
        return {k: getattr(self, k) for k in ("loss", "hidden", "width", "temperature", "window_s")}

    def init(self, key: Array, sample: HeadInput) -> dict[str, Tree]:
        model = Projection(self.hidden, self.width)
        keys = jax.random.split(key, 2)
        start = self.temperature if self.loss == "infonce" else 0.1
        params = {"log_temperature": jnp.log(jnp.float32(start)), "bias": jnp.float32(-10.0)}
        for i, m in enumerate(MODALITIES):
            params[m] = model.init(keys[i], getattr(sample, f"{m}_BxTxC"))["params"]
        return {NAME: params}

    def prepare(self, batch: HeadInput) -> Tree:
        return {"rows": batch, "excluded": excluded_pairs(batch, self.window_s)}

    def losses(self, params: Mapping[str, Tree], batch: Tree, key: Array, dtype: Any) -> dict[str, Array]:
        p, rows = params[NAME], batch["rows"]
        audio, midi = (_embed(self, p, rows, m, dtype) for m in MODALITIES)
        present = jnp.any(rows.midi_mask_BxT, axis=1) & jnp.any(rows.audio_mask_BxT, axis=1)
        weight = (present & (rows.weight_B > 0)).astype(jnp.float32)
        if self.loss == "infonce":
            return {NAME: info_nce(audio, midi, p["log_temperature"], batch["excluded"], weight)}
        return {NAME: siglip(audio, midi, p["log_temperature"], p["bias"], batch["excluded"], weight)}

    def evaluate(
        self, params: Mapping[str, Tree], data: Data, normalisation: Normalisation, config: FitConfig
    ) -> dict[str, NDArray]:
        """Minus the mean validation loss, (S,)."""
        total, n = np.zeros(len(config.seeds)), 0
        for batch in read_ahead(data.validation(), config.read_ahead):
            prepared = self.prepare(pad_rows(batch, max(batch.n_rows, config.batch_rows)))
            total += batch.n_rows * np.asarray(_validation_loss(self, params, prepared, normalisation))
            n += batch.n_rows
        if not n:
            raise BadInput("the validation split has no rows; early stopping and the best epoch need some")
        if not np.isfinite(total).all():
            raise NotFinite("the alignment loss of the validation rows is not finite: look for NaN in their features")
        return {NAME: -total / n}


def _embed(config: _Contrastive, params: Tree, rows: HeadInput, modality: str, dtype: Any) -> Array:
    frames = _project(config, params, rows, modality, dtype).astype(jnp.float32)
    mask_BxT = getattr(rows, f"{modality}_mask_BxT").astype(jnp.float32)
    return normalise(jnp.einsum("bt,btd->bd", mask_BxT, frames) / jnp.maximum(jnp.sum(mask_BxT, axis=1), 1.0)[:, None])


def _project(config: _Contrastive, params: Tree, rows: HeadInput, modality: str, dtype: Any) -> Array:
    cast = jax.tree.map(lambda a: a.astype(dtype), params[modality])
    return Projection(config.hidden, config.width).apply({"params": cast}, getattr(rows, f"{modality}_BxTxC"))


@partial(jax.jit, static_argnums=0)
def _validation_loss(config: _Contrastive, params: Tree, batch: Tree, normalisation: Normalisation) -> Array:
    rows = standardise(batch["rows"], normalisation, jnp.float32)
    key = jax.random.key(0)
    return jax.vmap(lambda p: config.losses(p, {**batch, "rows": rows}, key, jnp.float32)[NAME])(params)


def fit_projection(
    data: Data,
    config: AlignConfig,
    *,
    store: str = "",
    normalisation: Normalisation | None = None,
    progress: Listener | None = None,
) -> AlignResult:
    """Train the projections. Batches must hold a segment's variants together and carry recording_B and start_s_B.

    Raises BadInput, NotFinite and CheckpointMismatch.
    """
    sample = next(iter(data.train(0)))
    missing = [n for n in ("audio_BxTxC", "midi_BxTxC", "recording_B", "start_s_B") if getattr(sample, n) is None]
    if missing:
        raise BadInput(f"alignment needs {', '.join(missing)}, which the data does not give")
    trained = train(_objective(config), data, config.fit, store=store, normalisation=normalisation, progress=progress)
    return AlignResult(
        config, trained.params[NAME], trained.normalisation, trained.history, trained.best_epoch[NAME], store
    )


def check(path: Path, result: AlignResult) -> None:
    """Raise CheckpointMismatch where the projections read from `path` have other parameters than this version's."""
    model = _objective(result.config)
    params = result.params
    checkpoint.check_parameters(
        path, lambda rows: model.init(jax.random.key(0), rows)[NAME], params, result.normalisation
    )


def _objective(config: AlignConfig) -> _Contrastive:
    return _Contrastive(config.loss, config.hidden, config.width, config.temperature, config.window_s)


@partial(jax.jit, static_argnums=0)
def _both(
    config: _Contrastive, params: Tree, batch: HeadInput, normalisation: Normalisation
) -> dict[str, tuple[Array, Array]]:
    rows = standardise(batch, normalisation, jnp.float32)
    return {
        m: (_project(config, params, rows, m, jnp.float32), _embed(config, params, rows, m, jnp.float32))
        for m in MODALITIES
    }


def _one_seed(result: AlignResult, seed_index: int) -> Tree:
    return jax.tree.map(lambda a: a[seed_index], result.params)


def project(
    result: AlignResult, batches: Iterable[HeadInput], *, seed_index: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embeddings (row, D) of audio and of MIDI at length 1, float32, rows in the order of the batches."""
    params, parts = _one_seed(result, seed_index), []
    for batch in batches:
        padded = pad_rows(batch, max(batch.n_rows, result.config.fit.batch_rows))
        out = _both(_objective(result.config), params, padded, result.normalisation)
        parts.append([np.asarray(out[m][1])[: batch.n_rows] for m in MODALITIES])
    audio, midi = (np.concatenate([part[i] for part in parts]) for i in range(2))
    return audio, midi


def aligned(result: AlignResult, batches: Iterable[HeadInput], *, seed_index: int = 0) -> Iterator[HeadInput]:
    """The same batches with aligned frames (B, T, D), float32, in place of the encoders' frames."""
    params = _one_seed(result, seed_index)
    for batch in batches:
        padded = pad_rows(batch, max(batch.n_rows, result.config.fit.batch_rows))
        out = _both(_objective(result.config), params, padded, result.normalisation)
        audio, midi = (np.asarray(out[m][0])[: batch.n_rows] for m in MODALITIES)
        yield batch._replace(audio_BxTxC=audio, midi_BxTxC=midi)
