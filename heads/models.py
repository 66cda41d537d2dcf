"""Five heads behind one interface: audio only, MIDI only, concatenation, cross-attention, gated.

A head is an input projection (one matrix a feature, so that all heads and all seeds share one matrix product) and a
small Flax module behind it. Scores come out in the standardised units that training uses.
"""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from keybed.heads.attention import distance_slopes, dot_product_attention, pool, relative_bias
from keybed.heads.errors import BadInput
from keybed.heads.inputs import MODALITIES, N_DIMENSIONS, HeadInput

Array = Any
Params = Mapping[str, Any]

HEADS = ("audio", "midi", "concat", "cross", "gated")

_KERNEL = nn.initializers.variance_scaling(1.0, "fan_in", "uniform")
"""LeCun's variance; uniform compiles faster than a truncated normal."""
_SMALL = nn.initializers.variance_scaling(0.05, "fan_in", "uniform")


@dataclass(frozen=True)
class HeadConfig:
    """All that shapes one head. `kind` is one of HEADS."""

    kind: str
    hidden: int = 64
    n_attention_heads: int = 4
    dropout: float = 0.1
    modality_dropout: float = 0.15
    """gated only: how often a training row loses one modality (never both)."""
    inputs: Literal["frames", "layers", "both"] = "frames"
    """frames: T bins. layers: a learned softmax mix over states, one token. both: the mix as one more token."""
    n_dimensions: int = N_DIMENSIONS

    def __post_init__(self) -> None:
        if self.kind not in HEADS:
            raise BadInput(f"no head {self.kind!r}; there are {', '.join(HEADS)}")
        if self.inputs not in ("frames", "layers", "both"):
            raise BadInput(f"inputs={self.inputs!r}; choose frames, layers or both")
        if self.hidden % self.n_attention_heads:
            raise BadInput(f"hidden={self.hidden} is no multiple of n_attention_heads={self.n_attention_heads}")

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that this head looks at."""
        return (self.kind,) if self.kind in MODALITIES else MODALITIES


class HeadOutput(NamedTuple):
    """What a head says about B rows. Weights that a head does not have are None. H: attention heads.

    audio_to_midi: where each audio bin looks among the MIDI bins; midi_to_audio the other way. gate: M = audio, MIDI,
    summing to 1. pooling: weight of each bin. mix: weight of each state.
    """

    score_BxK: Array
    audio_to_midi_BxHxTxT: Array = None
    midi_to_audio_BxHxTxT: Array = None
    gate_BxMxK: Array = None
    audio_pooling_BxHxT: Array = None
    midi_pooling_BxHxT: Array = None
    audio_mix_S: Array = None
    midi_mix_S: Array = None


class Tokens(NamedTuple):
    """One modality behind the input projection."""

    token_BxTxH: Array
    mask_BxT: Array


class Pooling(nn.Module):
    """Attention pooling over bins; starts as the plain masked mean."""

    n_heads: int

    @nn.compact
    def __call__(self, tokens: Tokens) -> tuple[Array, Array]:
        """Returns pooled_BxH and weight_BxHxT."""
        n, t, width = tokens.token_BxTxH.shape
        logits_BxTxH = nn.Dense(self.n_heads, use_bias=False, kernel_init=nn.initializers.zeros)(tokens.token_BxTxH)
        split_BxTxHxD = tokens.token_BxTxH.reshape(n, t, self.n_heads, width // self.n_heads)
        pooled_BxHxD, weight_BxHxT = pool(split_BxTxHxD, logits_BxTxH, tokens.mask_BxT)
        return pooled_BxHxD.reshape(n, width), weight_BxHxT


class Judge(nn.Module):
    """Pooled features to K scores: a linear path beside one hidden layer."""

    hidden: int
    dropout: float
    n_dimensions: int

    @nn.compact
    def __call__(self, pooled_BxF: Array, train: bool) -> Array:
        """Returns score_BxK, float32."""
        pooled_BxF = nn.Dropout(self.dropout, deterministic=not train)(pooled_BxF)
        hidden_BxH = nn.gelu(nn.Dense(self.hidden, kernel_init=_KERNEL, name="hidden")(pooled_BxF))
        both = jnp.concatenate([pooled_BxF, hidden_BxH], axis=-1)
        out = nn.Dense(self.n_dimensions, name="score", kernel_init=_SMALL)(both)
        return out.astype(jnp.float32)


class CrossAttention(nn.Module):
    """Each modality's tokens look among the other's, on the common time grid, and add what they find.

    Queries, keys and values of one modality are one matrix product.
    """

    n_heads: int

    @nn.compact
    def __call__(self, audio: Tokens, midi: Tokens) -> tuple[Tokens, Tokens, Array, Array]:
        """Returns both modalities' tokens, enriched, and weight_BxHxTxT of audio looking at MIDI and of MIDI at audio."""
        audio_qkv, midi_qkv = self._split(audio, "audio"), self._split(midi, "midi")
        heard, to_midi = self._look("audio_to_midi", audio_qkv[0], midi_qkv[1], midi_qkv[2], midi.mask_BxT)
        seen, to_audio = self._look("midi_to_audio", midi_qkv[0], audio_qkv[1], audio_qkv[2], audio.mask_BxT)
        enriched_audio = Tokens(audio.token_BxTxH + heard, audio.mask_BxT)
        return enriched_audio, Tokens(midi.token_BxTxH + seen, midi.mask_BxT), to_midi, to_audio

    def _split(self, tokens: Tokens, name: str) -> tuple[Array, ...]:
        """Queries, keys and values, each (B, H, T, D)."""
        n, t, width = tokens.token_BxTxH.shape
        qkv = nn.Dense(3 * width, use_bias=False, kernel_init=_KERNEL, name=name)(tokens.token_BxTxH)
        split = (part.reshape(n, t, self.n_heads, width // self.n_heads) for part in jnp.split(qkv, 3, axis=-1))
        return tuple(jnp.swapaxes(part, 1, 2) for part in split)

    def _look(self, name: str, query: Array, key: Array, value: Array, mask_BxT: Array) -> tuple[Array, Array]:
        n, _, n_query, _ = query.shape
        n_key = key.shape[2]

        def towards_now(_: Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Array:
            offset = jnp.abs(jnp.arange(shape[1], dtype=dtype) - (n_query - 1))
            return -distance_slopes(shape[0])[:, None] * offset[None, :]

        table = self.param(f"{name}_offset", towards_now, (self.n_heads, n_query + n_key - 1))
        bias = relative_bias(table, n_query, n_key)
        found_BxHxQxD, weight_BxHxQxT = dot_product_attention(query, key, value, mask_BxT, bias)
        return jnp.swapaxes(found_BxHxQxD, 1, 2).reshape(n, n_query, -1), weight_BxHxQxT


class Single(nn.Module):
    """One modality: pool, judge."""

    config: HeadConfig

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], train: bool) -> HeadOutput:
        """Looks at tokens[config.kind] and at nothing else."""
        c = self.config
        pooled, weight = Pooling(c.n_attention_heads)(tokens[c.kind])
        score = Judge(c.hidden, c.dropout, c.n_dimensions)(pooled, train)
        return HeadOutput(score, **{f"{c.kind}_pooling_BxHxT": weight})


class Concatenation(nn.Module):
    """Both modalities pooled apart, judged together."""

    config: HeadConfig

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], train: bool) -> HeadOutput:
        """The plain fusion."""
        c = self.config
        audio, audio_weight = Pooling(c.n_attention_heads, name="audio")(tokens["audio"])
        midi, midi_weight = Pooling(c.n_attention_heads, name="midi")(tokens["midi"])
        score = Judge(c.hidden, c.dropout, c.n_dimensions)(jnp.concatenate([audio, midi], -1), train)
        return HeadOutput(score, audio_pooling_BxHxT=audio_weight, midi_pooling_BxHxT=midi_weight)


class Crossing(nn.Module):
    """Cross-attention in both directions, then as concatenation."""

    config: HeadConfig

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], train: bool) -> HeadOutput:
        """Returns the attention of both directions."""
        c = self.config
        attention = CrossAttention(c.n_attention_heads, name="attention")
        audio, midi, to_midi, to_audio = attention(tokens["audio"], tokens["midi"])
        out = Concatenation(c, name="fusion")({"audio": audio, "midi": midi}, train)
        return out._replace(audio_to_midi_BxHxTxT=to_midi, midi_to_audio_BxHxTxT=to_audio)


class Gated(nn.Module):
    """Each modality judges by itself; a gate weighs the two for each dimension. Nobody says which modality judges what."""

    config: HeadConfig

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], train: bool) -> HeadOutput:
        """The gate leaves out a modality whose bins are all masked, or that modality dropout took away."""
        c = self.config
        pooled, scores, weights, present = {}, [], {}, []
        for m in MODALITIES:
            pooled[m], weights[f"{m}_pooling_BxHxT"] = Pooling(c.n_attention_heads, name=m)(tokens[m])
            scores.append(Judge(c.hidden, c.dropout, c.n_dimensions, name=f"{m}_judge")(pooled[m], train))
            present.append(jnp.any(tokens[m].mask_BxT, axis=1))
        both = jnp.concatenate([pooled[m] for m in MODALITIES], -1)
        logits = nn.Dense(2 * c.n_dimensions, name="gate", kernel_init=_SMALL)(both)
        logits_BxMxK = logits.astype(jnp.float32).reshape(-1, 2, c.n_dimensions)
        present_BxM = jnp.stack(present, axis=1)
        if train and c.modality_dropout > 0:
            present_BxM = present_BxM & _kept(self.make_rng("dropout"), present_BxM, c.modality_dropout)
        gate_BxMxK = jax.nn.softmax(jnp.where(present_BxM[..., None], logits_BxMxK, jnp.float32(-1e9)), axis=1)
        score_BxK = jnp.sum(gate_BxMxK * jnp.stack(scores, axis=1), axis=1)
        return HeadOutput(score_BxK, gate_BxMxK=gate_BxMxK, **weights)


def _kept(key: Array, present_BxM: Array, rate: float) -> Array:
    """False for one modality of a `rate` share of the rows that have both."""
    n = present_BxM.shape[0]
    lose_key, which_key = jax.random.split(key)
    lose_B = jax.random.bernoulli(lose_key, rate, (n,)) & jnp.all(present_BxM, axis=1)
    which_B = jax.random.bernoulli(which_key, 0.5, (n,))
    lost_BxM = jnp.stack([lose_B & which_B, lose_B & ~which_B], axis=1)
    return ~lost_BxM


_BODIES: Mapping[str, type[nn.Module]] = {
    "audio": Single,
    "midi": Single,
    "concat": Concatenation,
    "cross": Crossing,
    "gated": Gated,
}


def init(config: HeadConfig, key: Array, sample: HeadInput) -> Params:
    """Fresh float32 parameters for inputs shaped like `sample`; raises BadInput naming a feature that is missing."""
    keys = iter(jax.random.split(key, 8))
    project: dict[str, Any] = {}
    for modality in config.modalities:
        if config.inputs != "layers":
            width = _feature(config, sample, f"{modality}_BxTxC").shape[-1]
            project[f"{modality}_frames"] = _dense(next(keys), width, config.hidden)
        if config.inputs != "frames":
            n_states, width = _feature(config, sample, f"{modality}_layers_BxSxC").shape[1:]
            mix = {"mix": jnp.zeros(n_states, jnp.float32)}
            project[f"{modality}_layers"] = {**_dense(next(keys), width, config.hidden), **mix}
    small = jax.tree.map(lambda a: jnp.asarray(a[:2]), sample)
    tokens = _tokens({"head": config}, {"head": {"project": project}}, small)["head"]
    body = _BODIES[config.kind](config).init(next(keys), tokens, train=False)["params"]
    return {"project": project, "body": body}


def _feature(config: HeadConfig, sample: HeadInput, name: str) -> Array:
    feature = getattr(sample, name)
    if feature is None:
        raise BadInput(f"head {config.kind!r} with inputs={config.inputs!r} needs {name}, which the data does not give")
    return feature


def _dense(key: Array, n_in: int, n_out: int) -> dict[str, Array]:
    return {"kernel": _KERNEL(key, (n_in, n_out), jnp.float32), "bias": jnp.zeros(n_out, jnp.float32)}


def apply(
    config: HeadConfig, params: Params, batch: HeadInput, *, train: bool = False, key: Array | None = None
) -> HeadOutput:
    """One head on one batch of standardised inputs. `key` drives dropout and is needed where train is true."""
    return apply_all({"head": config}, {"head": params}, batch, train=train, key=key)["head"]


def apply_all(
    configs: Mapping[str, HeadConfig],
    params: Mapping[str, Params],
    batch: HeadInput,
    *,
    train: bool = False,
    key: Array | None = None,
) -> dict[str, HeadOutput]:
    """Several heads on one batch; the input projections of one feature are one matrix product."""
    tokens = _tokens(configs, params, batch)
    outputs = {}
    for i, (name, config) in enumerate(configs.items()):
        rngs = None if key is None else {"dropout": jax.random.fold_in(key, i)}
        out = _BODIES[config.kind](config).apply({"params": params[name]["body"]}, tokens[name], train=train, rngs=rngs)
        mixes = {
            f"{m}_mix_S": jax.nn.softmax(params[name]["project"][f"{m}_layers"]["mix"])
            for m in config.modalities
            if config.inputs != "frames"
        }
        outputs[name] = out._replace(**mixes)
    return outputs


def _tokens(
    configs: Mapping[str, HeadConfig], params: Mapping[str, Params], batch: HeadInput
) -> dict[str, dict[str, Tokens]]:
    tokens: dict[str, dict[str, Tokens]] = {name: {} for name in configs}
    for modality in MODALITIES:
        users = [n for n, c in configs.items() if modality in c.modalities]
        of_frames = _project_frames(modality, [n for n in users if configs[n].inputs != "layers"], params, batch)
        of_layers = _project_layers(modality, [n for n in users if configs[n].inputs != "frames"], params, batch)
        for name in users:
            parts = [p[name] for p in (of_frames, of_layers) if name in p]
            tokens[name][modality] = Tokens(
                jnp.concatenate([p.token_BxTxH for p in parts], axis=1),
                jnp.concatenate([p.mask_BxT for p in parts], axis=1),
            )
    return tokens


def _project_frames(
    modality: str, names: list[str], params: Mapping[str, Params], batch: HeadInput
) -> dict[str, Tokens]:
    if not names:
        return {}
    x_BxTxC, mask_BxT = getattr(batch, f"{modality}_BxTxC"), getattr(batch, f"{modality}_mask_BxT")
    dense = [params[n]["project"][f"{modality}_frames"] for n in names]
    kernel_CxN = jnp.concatenate([d["kernel"] for d in dense], axis=1)
    bias_N = jnp.concatenate([d["bias"] for d in dense])
    y_BxTxN = nn.gelu(x_BxTxC @ kernel_CxN.astype(x_BxTxC.dtype) + bias_N.astype(x_BxTxC.dtype)[None, None, :])
    ends = [sum(d["bias"].shape[0] for d in dense[: i + 1]) for i in range(len(dense) - 1)]
    parts = jnp.split(y_BxTxN, ends, axis=-1)
    return {n: Tokens(part, mask_BxT) for n, part in zip(names, parts, strict=True)}


def _project_layers(
    modality: str, names: list[str], params: Mapping[str, Params], batch: HeadInput
) -> dict[str, Tokens]:
    if not names:
        return {}
    x_BxSxC = getattr(batch, f"{modality}_layers_BxSxC")
    dense = [params[n]["project"][f"{modality}_layers"] for n in names]
    mix_NxS = jax.nn.softmax(jnp.stack([d["mix"] for d in dense]), axis=-1).astype(x_BxSxC.dtype)
    mixed_BxNxC = jnp.einsum("ns,bsc->bnc", mix_NxS, x_BxSxC)
    present_Bx1 = (batch.row_B >= 0)[:, None]
    out = {}
    for i, (name, d) in enumerate(zip(names, dense, strict=True)):
        kernel, bias = d["kernel"].astype(x_BxSxC.dtype), d["bias"].astype(x_BxSxC.dtype)
        out[name] = Tokens(nn.gelu(mixed_BxNxC[:, i : i + 1] @ kernel + bias[None, None, :]), present_Bx1)
    return out
