"""The contrastive objective of one projection model, called "projection": parameters, embeddings, loss."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from numpy.typing import NDArray

from keybed.heads.alignment import blockwise, codebook, mismatch, quality, tokens
from keybed.heads.alignment.local import local_loss, local_negatives
from keybed.heads.alignment.terms import Terms
from keybed.heads.contrast import excluded_pairs, info_nce, normalise, siglip
from keybed.heads.data import Data, read_ahead
from keybed.heads.errors import BadInput, NotFinite
from keybed.heads.fit_config import FitConfig
from keybed.heads.inputs import MODALITIES, HeadInput, pad_rows
from keybed.heads.normalisation import Normalisation, standardise

Array = Any
Tree = Any

NAME = "projection"


class Projection(nn.Module):
    """Per bin: one hidden layer in parallel with a linear path."""

    hidden: int
    width: int

    @nn.compact
    def __call__(self, x_BxTxC: Array) -> Array:
        """Returns aligned_BxTxD."""
        hidden = nn.gelu(nn.Dense(self.hidden, name="hidden")(x_BxTxC))
        return nn.Dense(self.width, name="bend")(hidden) + nn.Dense(self.width, use_bias=False, name="line")(x_BxTxC)


class Side(NamedTuple):
    """One modality of B rows in the shared space, float32.

    clip: at length 1. frame: aligned bins. read: what later heads read, (B, T, D) bins or (B, N, 2·D) tokens with the shared
    one first. codeword: weight of each codeword. state: each encoder state at length 1. None where the switch is off.
    """

    clip_BxD: Array
    frame_BxTxD: Array
    mask_BxT: Array
    read_BxNxF: Array
    read_mask_BxN: Array
    codeword_BxK: Array = None
    state_BxSxD: Array = None


@dataclass(frozen=True)
class Contrastive:
    """A `keybed.heads.step.Objective`. Everything that shapes parameters and loss; the fields of `AlignConfig`."""

    loss: str
    hidden: int
    width: int
    temperature: float
    window_s: float
    terms: Terms = field(default_factory=Terms)
    scannable: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The one model."""
        return (NAME,)

    def to_json(self) -> dict[str, Any]:
        """The description that a checkpoint compares."""
        shape = {k: getattr(self, k) for k in ("loss", "hidden", "width", "temperature", "window_s")}
        return {**shape, "terms": self.terms.to_json()}

    def init(self, key: Array, sample: HeadInput) -> dict[str, Tree]:
        """Initial parameters. Those of the base do not depend on the switches."""
        model, terms = Projection(self.hidden, self.width), self.terms
        keys = jax.random.split(key, 2)
        start = self.temperature if self.loss == "infonce" else 0.1
        params: dict[str, Tree] = {"log_temperature": jnp.log(jnp.float32(start)), "bias": jnp.float32(-10.0)}
        for i, m in enumerate(MODALITIES):
            params[m] = model.init(keys[i], getattr(sample, f"{m}_BxTxC"))["params"]
        extra = iter(jax.random.split(jax.random.fold_in(key, 1), 16))
        if terms.codewords:
            params["codeword"] = codebook.init_codebook(next(extra), terms.codewords, self.width)
        if terms.tokens:
            params["tokens"] = tokens.init_tokens(next(extra), terms.tokens, self.width)
            for m in MODALITIES:
                params[f"private_{m}"] = model.init(next(extra), getattr(sample, f"{m}_BxTxC"))["params"]
        if terms.mismatch:
            params["mismatch"] = mismatch.init_mismatch(next(extra), self.width)
        if terms.blockwise:
            states = {m: getattr(sample, f"{m}_layers_BxSxC") for m in MODALITIES}
            params["states"] = {m: blockwise.init_states(next(extra), x, self.width) for m, x in states.items()}
        if terms.quality:
            n = 2 * self.width * (2 if terms.tokens else 1)
            params["quality"] = {m: quality.init_quality(next(extra), n) for m in MODALITIES}
        return {NAME: params}

    def prepare(self, batch: HeadInput) -> Tree:
        """Pairs and bins that are no negatives are found on the host, from the features' bytes."""
        prepared = {"rows": batch, "excluded": excluded_pairs(batch, self.window_s)}
        if self.terms.local:
            prepared["local"] = local_negatives(batch)
        return prepared

    def losses(self, params: Mapping[str, Tree], batch: Tree, key: Array, dtype: Any) -> dict[str, Array]:
        """The weighted sum of all terms that are switched on."""
        p, rows, excluded, terms = params[NAME], batch["rows"], batch["excluded"], self.terms
        sides = {m: self.side(p, rows, m, dtype) for m in MODALITIES}
        audio, midi = sides["audio"], sides["midi"]
        present = jnp.any(midi.mask_BxT, axis=1) & jnp.any(audio.mask_BxT, axis=1)
        weight = (present & (rows.weight_B > 0)).astype(jnp.float32)
        if self.loss == "infonce":
            pairs = (audio.clip_BxD, midi.clip_BxD, p["log_temperature"], excluded, weight)
            loss = info_nce(*pairs, terms.hard_negatives)
        else:
            loss = siglip(audio.clip_BxD, midi.clip_BxD, p["log_temperature"], p["bias"], excluded, weight)
        if terms.local:
            masks = (audio.mask_BxT, midi.mask_BxT)
            loss += terms.local * local_loss(audio.frame_BxTxD, midi.frame_BxTxD, *masks, batch["local"], weight)
        if terms.mismatch:
            partner, swapped = mismatch.swapped_rows(key, terms.mismatch, rows.segment_B, excluded, weight > 0)
            other = jax.tree.map(lambda a: a[partner], (midi.clip_BxD, midi.frame_BxTxD, midi.mask_BxT))
            logit = mismatch.mismatch_logit(p["mismatch"], _evidence(audio, *other))
            loss += mismatch.mismatch_loss(logit, swapped, weight)
        if terms.blockwise:
            states, clips = ({m: getattr(s, n) for m, s in sides.items()} for n in ("state_BxSxD", "clip_BxD"))
            of_states = blockwise.blockwise_loss(states, clips, p["log_temperature"], excluded, weight)
            loss += terms.blockwise * of_states
        if terms.quality:
            read = {m: quality.moments(s.read_BxNxF, s.read_mask_BxN) for m, s in sides.items()}
            of_scores = quality.quality_loss(p["quality"], read, rows.score_BxK, rows.valid_BxK, rows.weight_B)
            loss += terms.quality * of_scores
        return {NAME: loss}

    def side(self, params: Mapping[str, Tree], rows: HeadInput, modality: str, dtype: Any) -> Side:
        """One modality of standardised rows in the shared space."""
        mask, terms = getattr(rows, f"{modality}_mask_BxT"), self.terms
        frames = self._project(params[modality], rows, modality, dtype)
        parts, part_mask = frames, mask
        read, read_mask = frames, mask
        if terms.tokens:
            private = self._project(params[f"private_{modality}"], rows, modality, dtype)
            shared, own = tokens.shared_and_private(params["tokens"], modality, frames, private, mask)
            part_mask = jnp.broadcast_to(jnp.any(mask, axis=1, keepdims=True), shared.shape[:2])
            parts, read, read_mask = shared, jnp.concatenate([shared, own], axis=2), part_mask
        code = state = None
        if terms.codewords:
            code = codebook.codeword_weights(parts, part_mask, params["codeword"])
            clip = codebook.mix(code, params["codeword"])
        else:
            weight_BxT = part_mask.astype(jnp.float32)
            count_B = jnp.maximum(jnp.sum(weight_BxT, axis=1), 1.0)
            clip = jnp.einsum("bt,btd->bd", weight_BxT, parts) / count_B[:, None]
        if terms.blockwise:
            state = blockwise.embed_states(params["states"][modality], getattr(rows, f"{modality}_layers_BxSxC"))
        return Side(normalise(clip), frames, mask, read, read_mask, code, state)

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

    def _project(self, params: Tree, rows: HeadInput, modality: str, dtype: Any) -> Array:
        cast = jax.tree.map(lambda a: a.astype(dtype), params)
        frames = Projection(self.hidden, self.width).apply({"params": cast}, getattr(rows, f"{modality}_BxTxC"))
        return frames.astype(jnp.float32)


def _evidence(audio: Side, clip_BxD: Array, frame_BxTxD: Array, mask_BxT: Array) -> Array:
    return mismatch.evidence(audio.clip_BxD, clip_BxD, audio.frame_BxTxD, frame_BxTxD, audio.mask_BxT & mask_BxT)


@partial(jax.jit, static_argnums=0)
def _validation_loss(objective: Contrastive, params: Tree, batch: Tree, normalisation: Normalisation) -> Array:
    rows = standardise(batch["rows"], normalisation, jnp.float32)
    key = jax.random.key(0)
    return jax.vmap(lambda p: objective.losses(p, {**batch, "rows": rows}, key, jnp.float32)[NAME])(params)


@partial(jax.jit, static_argnums=0)
def both_sides(objective: Contrastive, params: Tree, batch: HeadInput, normalisation: Normalisation) -> dict[str, Side]:
    """Both modalities of raw rows, by one seed's parameters."""
    rows = standardise(batch, normalisation, jnp.float32)
    return {m: objective.side(params, rows, m, jnp.float32) for m in MODALITIES}


@partial(jax.jit, static_argnums=0)
def mismatch_logits(objective: Contrastive, params: Tree, batch: HeadInput, normalisation: Normalisation) -> Array:
    """logit_B of "these notes do not belong to this audio", for raw rows and one seed's parameters."""
    sides = both_sides(objective, params, batch, normalisation)
    midi = sides["midi"]
    pair = _evidence(sides["audio"], midi.clip_BxD, midi.frame_BxTxD, midi.mask_BxT)
    return mismatch.mismatch_logit(params["mismatch"], pair)
