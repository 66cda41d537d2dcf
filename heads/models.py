"""Five heads behind one interface: audio only, MIDI only, concatenation, cross-attention, gated.

A head is an input projection (`input_projection`, computed for all heads at once) and a small Flax module after it. Scores
are in standard deviations of the training scores. Flax Linen, because parameters here are plain trees that are stacked over
seeds and joined over heads; the module objects of Flax NNX would hold them inside.
"""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from flax import linen as nn

from keybed.heads.attention import KERNEL, CrossAttention, Pooling, Tokens
from keybed.heads.errors import BadInput
from keybed.heads.input_projection import Params, init_dense, project_frames, project_layers
from keybed.heads.inputs import MODALITIES, N_DIMENSIONS, HeadInput

Array = Any

HEADS = ("audio", "midi", "concat", "cross", "gated")
Pooled = Literal["mean", "statistics"]
POOLINGS: tuple[Pooled, ...] = get_args(Pooled)

_SMALL = nn.initializers.variance_scaling(0.05, "fan_in", "uniform")


@dataclass(frozen=True)
class HeadConfig:
    """Everything that shapes one head. `kind` is one of HEADS."""

    kind: str
    hidden: int = 128
    n_attention_heads: int = 4
    dropout: float = 0.1
    modality_dropout: float = 0.15
    """gated only: share of training rows that lose one modality (never both)."""
    inputs: Literal["frames", "layers", "both"] = "frames"
    """frames: T tokens. layers: one token, a learned softmax mix of the states. both: T + 1 tokens."""
    n_dimensions: int = N_DIMENSIONS
    pooling: Pooled = "statistics"
    """statistics: weighted mean and standard deviation over the bins. mean: the mean alone."""

    def __post_init__(self) -> None:
        if self.kind not in HEADS:
            raise BadInput(f"no head {self.kind!r}; there are {', '.join(HEADS)}")
        if self.inputs not in ("frames", "layers", "both"):
            raise BadInput(f"inputs={self.inputs!r}; choose frames, layers or both")
        if self.pooling not in POOLINGS:
            raise BadInput(f"pooling={self.pooling!r}; choose {' or '.join(POOLINGS)}")
        if self.hidden < 1 or self.hidden % self.n_attention_heads:
            raise BadInput(
                f"hidden={self.hidden} is no positive multiple of n_attention_heads={self.n_attention_heads}"
            )

    @property
    def spread(self) -> bool:
        """Whether pooling also gives the standard deviation over the bins."""
        return self.pooling == "statistics"

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that this head reads."""
        return (self.kind,) if self.kind in MODALITIES else MODALITIES


class HeadOutput(NamedTuple):
    """Output of one head for B rows; weights that a head does not have are None. H: attention heads.

    audio_to_midi: attention of each audio bin over the MIDI bins; midi_to_audio: the reverse. gate: weight of M = audio,
    MIDI, summing to 1. pooling: weight of each bin. mix: weight of each state.
    """

    score_BxK: Array
    audio_to_midi_BxHxTxT: Array = None
    midi_to_audio_BxHxTxT: Array = None
    gate_BxMxK: Array = None
    audio_pooling_BxHxT: Array = None
    midi_pooling_BxHxT: Array = None
    audio_mix_S: Array = None
    midi_mix_S: Array = None


class ScoreMLP(nn.Module):
    """Pooled features to K scores: a linear path in parallel with one hidden layer."""

    hidden: int
    dropout: float
    n_dimensions: int

    @nn.compact
    def __call__(self, pooled_BxF: Array, train: bool) -> Array:
        """Returns score_BxK, float32."""
        pooled_BxF = nn.Dropout(self.dropout, deterministic=not train)(pooled_BxF)
        hidden_BxH = nn.gelu(nn.Dense(self.hidden, kernel_init=KERNEL, name="hidden")(pooled_BxF))
        both = jnp.concatenate([pooled_BxF, hidden_BxH], axis=-1)
        out = nn.Dense(self.n_dimensions, name="score", kernel_init=_SMALL)(both)
        return out.astype(jnp.float32)


class Single(nn.Module):
    """One modality: pooling, then a score MLP. Checkpoints name the MLP `Judge_0`, its first class name."""

    config: HeadConfig

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], train: bool) -> HeadOutput:
        """Reads tokens[config.kind] only."""
        c = self.config
        pooled, weight = Pooling(c.n_attention_heads, c.spread)(tokens[c.kind])
        score = ScoreMLP(c.hidden, c.dropout, c.n_dimensions, name="Judge_0")(pooled, train)
        return HeadOutput(score, **{f"{c.kind}_pooling_BxHxT": weight})


class Concatenation(nn.Module):
    """Fusion by concatenation: each modality is pooled, one score MLP reads both."""

    config: HeadConfig

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], train: bool) -> HeadOutput:
        """Returns scores and both pooling weights."""
        c = self.config
        audio, audio_weight = Pooling(c.n_attention_heads, c.spread, name="audio")(tokens["audio"])
        midi, midi_weight = Pooling(c.n_attention_heads, c.spread, name="midi")(tokens["midi"])
        score = ScoreMLP(c.hidden, c.dropout, c.n_dimensions, name="Judge_0")(jnp.concatenate([audio, midi], -1), train)
        return HeadOutput(score, audio_pooling_BxHxT=audio_weight, midi_pooling_BxHxT=midi_weight)


class Crossing(nn.Module):
    """Cross-attention in both directions, then fusion by concatenation."""

    config: HeadConfig

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], train: bool) -> HeadOutput:
        """Returns scores, pooling weights and the attention of both directions."""
        c = self.config
        attention = CrossAttention(c.n_attention_heads, name="attention")
        audio, midi, to_midi, to_audio = attention(tokens["audio"], tokens["midi"])
        out = Concatenation(c, name="fusion")({"audio": audio, "midi": midi}, train)
        return out._replace(audio_to_midi_BxHxTxT=to_midi, midi_to_audio_BxHxTxT=to_audio)


class Gated(nn.Module):
    """Each modality predicts all scores; a learned gate weighs the two predictions per dimension."""

    config: HeadConfig

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], train: bool) -> HeadOutput:
        """The gate gives weight 0 to a modality whose bins are all masked or that modality dropout removed."""
        c = self.config
        pooled, scores, weights, present = {}, [], {}, []
        for m in MODALITIES:
            pooled[m], weights[f"{m}_pooling_BxHxT"] = Pooling(c.n_attention_heads, c.spread, name=m)(tokens[m])
            scores.append(ScoreMLP(c.hidden, c.dropout, c.n_dimensions, name=f"{m}_judge")(pooled[m], train))
            present.append(jnp.any(tokens[m].mask_BxT, axis=1))
        both = jnp.concatenate([pooled[m] for m in MODALITIES], -1)
        logits = nn.Dense(2 * c.n_dimensions, name="gate", kernel_init=_SMALL)(both)
        logits_BxMxK = logits.astype(jnp.float32).reshape(-1, 2, c.n_dimensions)
        present_BxM = jnp.stack(present, axis=1)
        if train and c.modality_dropout > 0:
            present_BxM = present_BxM & _modality_dropout(self.make_rng("dropout"), present_BxM, c.modality_dropout)
        gate_BxMxK = jax.nn.softmax(jnp.where(present_BxM[..., None], logits_BxMxK, jnp.float32(-1e9)), axis=1)
        score_BxK = jnp.sum(gate_BxMxK * jnp.stack(scores, axis=1), axis=1)
        return HeadOutput(score_BxK, gate_BxMxK=gate_BxMxK, **weights)


def _modality_dropout(key: Array, present_BxM: Array, rate: float) -> Array:
    """bool_BxM: False for one modality of a share `rate` of the rows that have both."""
    n = present_BxM.shape[0]
    lose_key, which_key = jax.random.split(key)
    lose_B = jax.random.bernoulli(lose_key, rate, (n,)) & jnp.all(present_BxM, axis=1)
    which_B = jax.random.bernoulli(which_key, 0.5, (n,))
    lost_BxM = jnp.stack([lose_B & which_B, lose_B & ~which_B], axis=1)
    return ~lost_BxM


_MODULES: Mapping[str, type[nn.Module]] = {
    "audio": Single,
    "midi": Single,
    "concat": Concatenation,
    "cross": Crossing,
    "gated": Gated,
}


def init(config: HeadConfig, key: Array, sample: HeadInput) -> Params:
    """Initial float32 parameters for inputs shaped like `sample`; raises BadInput that names a missing feature."""
    keys = iter(jax.random.split(key, 8))
    project: dict[str, Any] = {}
    for modality in config.modalities:
        if config.inputs != "layers":
            width = _feature(config, sample, f"{modality}_BxTxC").shape[-1]
            project[f"{modality}_frames"] = init_dense(next(keys), width, config.hidden)
        if config.inputs != "frames":
            n_states, width = _feature(config, sample, f"{modality}_layers_BxSxC").shape[1:]
            mix = {"mix": jnp.zeros(n_states, jnp.float32)}
            project[f"{modality}_layers"] = {**init_dense(next(keys), width, config.hidden), **mix}
    small = jax.tree.map(lambda a: jnp.asarray(a[:2]), sample)
    tokens = _tokens({"head": config}, {"head": {"project": project}}, small)["head"]
    body = _MODULES[config.kind](config).init(next(keys), tokens, train=False)["params"]
    return {"project": project, "body": body}


def _feature(config: HeadConfig, sample: HeadInput, name: str) -> Array:
    feature = getattr(sample, name)
    if feature is None:
        raise BadInput(f"head {config.kind!r} with inputs={config.inputs!r} needs {name}, which the data does not give")
    return feature


def apply(
    config: HeadConfig, params: Params, batch: HeadInput, *, train: bool = False, key: Array | None = None
) -> HeadOutput:
    """One head on one standardised batch. Dropout needs `key` where train is true."""
    return apply_all({"head": config}, {"head": params}, batch, train=train, key=key)["head"]


def apply_all(
    configs: Mapping[str, HeadConfig],
    params: Mapping[str, Params],
    batch: HeadInput,
    *,
    train: bool = False,
    key: Array | None = None,
) -> dict[str, HeadOutput]:
    """Several heads on one standardised batch; each feature is projected for all heads in one matrix product."""
    tokens = _tokens(configs, params, batch)
    outputs = {}
    for i, (name, config) in enumerate(configs.items()):
        rngs = None if key is None else {"dropout": jax.random.fold_in(key, i)}
        out = _MODULES[config.kind](config).apply(
            {"params": params[name]["body"]}, tokens[name], train=train, rngs=rngs
        )
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
        of_frames = project_frames(modality, [n for n in users if configs[n].inputs != "layers"], params, batch)
        of_layers = project_layers(modality, [n for n in users if configs[n].inputs != "frames"], params, batch)
        for name in users:
            parts = [p[name] for p in (of_frames, of_layers) if name in p]
            tokens[name][modality] = Tokens(
                jnp.concatenate([p.token_BxTxH for p in parts], axis=1),
                jnp.concatenate([p.mask_BxT for p in parts], axis=1),
            )
    return tokens
