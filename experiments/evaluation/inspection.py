"""Inspection of trained heads: attention maps, the gated head's weights, and what the two feature spaces have in common."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.features import Features, Positions
from keybed.experiments.evaluation import diagnostics
from keybed.heads import fitted, models
from keybed.heads.inputs import HeadInput
from keybed.store.format.vocabulary import DIMENSIONS

MOST_ROWS = 512
"""Rows that are inspected; means over more rows differ little."""


@dataclass(frozen=True)
class AttentionMeasures:
    """Means over queries, rows and seeds; None where no query has two valid keys."""

    entropy: float | None
    sparsity: float | None


@dataclass(frozen=True)
class AttentionDirection:
    """One direction of cross-attention. map: mean attention (query bin, key bin) after training."""

    trained: AttentionMeasures
    untrained: AttentionMeasures
    map: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Attention:
    """Cross-attention of one head on `rows` rows."""

    head: str
    rows: int
    audio_to_midi: AttentionDirection
    midi_to_audio: AttentionDirection


@dataclass(frozen=True)
class Spaces:
    """Measures of two feature spaces, on `rows` rows; dictionaries are by modality. alignment_raw: None for unequal widths."""

    rows: int
    cka: float
    alignment_raw: float | None
    alignment_cca: float
    mean_cosine: dict[str, float]
    mean_cosine_standardised: dict[str, float]
    effective_rank: dict[str, float]
    channels: dict[str, int]


@dataclass(frozen=True)
class Inspection:
    """attention: None without a time grid. gate: weight of the audio by dimension; None without a gated head.

    state_weights: modality → weight of each state in the mix that the cross-attention head learnt (sum 1, mean of the seeds);
    None for views without several states.
    """

    attention: Attention | None
    gate: dict[str, float] | None
    spaces: Spaces
    state_weights: dict[str, tuple[float, ...]] | None = None


def sample(positions: Positions) -> Positions:
    """At most MOST_ROWS of the positions, evenly spread."""
    return positions[np.linspace(0, len(positions) - 1, min(MOST_ROWS, len(positions))).astype(np.int64)]


def attention(result: fitted.FitResult, head: str, features: Features, positions: Positions) -> Attention | None:
    """Entropy and sparsity of both directions, trained and untrained, and the mean maps.

    None for heads without attention, and for views without a time grid, where each modality is one token.
    """
    batch = features.batch(positions)
    if batch.audio_mask_BxT is None or batch.midi_mask_BxT is None:
        return None
    look = fitted.attend(result, head, [batch]).output
    if look.audio_to_midi_BxHxTxT is None:
        return None
    fresh = fitted.attend(_untrained(result, head, batch), head, [batch]).output
    masks = {"audio": np.asarray(batch.audio_mask_BxT), "midi": np.asarray(batch.midi_mask_BxT)}
    directions = {}
    for direction, query, key in (("audio_to_midi", "audio", "midi"), ("midi_to_audio", "midi", "audio")):
        trained, untrained = getattr(look, f"{direction}_BxHxTxT"), getattr(fresh, f"{direction}_BxHxTxT")
        key_mask = np.broadcast_to(masks[key][:, None, None, :], trained.shape)
        queries = np.broadcast_to(masks[query][:, None, :], trained.shape[:3]) & (key_mask.sum(-1) > 1)
        measures = {}
        for name, weights in (("trained", trained), ("untrained", untrained)):
            entropy = diagnostics.attention_entropy(weights, key_mask)[queries]
            sparsity = diagnostics.attention_sparsity(weights, key_mask)[queries]
            measures[name] = AttentionMeasures(_mean(entropy), _mean(sparsity))
        n_queries = np.maximum(queries.sum(axis=(0, 1)), 1)[:, None]
        mean_map = np.where(queries[..., None], trained, 0).sum(axis=(0, 1)) / n_queries
        directions[direction] = AttentionDirection(
            measures["trained"], measures["untrained"], tuple(map(tuple, mean_map.tolist()))
        )
    return Attention(head, len(positions), directions["audio_to_midi"], directions["midi_to_audio"])


def _mean(values: NDArray[np.floating]) -> float | None:
    return float(values.mean()) if values.size else None


def _untrained(result: fitted.FitResult, head: str, batch: HeadInput) -> fitted.FitResult:
    import jax

    config = result.heads[head]
    if not isinstance(config, models.HeadConfig):
        raise TypeError(f"{head} is no built-in head")
    params = models.init(config, jax.random.key(result.seeds[0]), batch)
    stacked = jax.tree.map(lambda a: np.repeat(np.asarray(a)[None], len(result.seeds), axis=0), params)
    return replace(result, params={**result.params, head: stacked})


def gate_weights(
    result: fitted.FitResult, features: Features, positions: Positions, head: str = "gated"
) -> dict[str, float] | None:
    """Mean weight of the audio for each dimension (the MIDI has the rest), over rows and seeds."""
    if head not in result.heads:
        return None
    batch = features.batch(positions)
    looks = [fitted.attend(result, head, [batch], seed=seed).output.gate_BxMxK for seed in result.seeds]
    if looks[0] is None:
        return None
    mean_K = np.mean([np.asarray(look)[:, 0].mean(axis=0) for look in looks], axis=0)
    return {dimension: float(mean_K[k]) for k, dimension in enumerate(DIMENSIONS)}


def state_weights(
    result: fitted.FitResult, features: Features, positions: Positions, head: str
) -> dict[str, tuple[float, ...]] | None:
    """Weight of each state in the learned mix, by modality (sum 1, mean of the seeds); None where no modality has two states.

    They are equal before training. A weight says how much of a state is read and not how much it helps.
    """
    batch = features.batch(positions[:1])
    looks = [fitted.attend(result, head, [batch], seed=seed).output for seed in result.seeds]
    found = {}
    for modality in ("audio", "midi"):
        mixes = [mix for look in looks if (mix := getattr(look, f"{modality}_mix_S")) is not None and mix.size > 1]
        if mixes:
            found[modality] = tuple(np.mean(mixes, axis=0).tolist())
    return found or None


def pooled(features: Features, modality: str, positions: Positions) -> NDArray[np.float64]:
    """(row, channel): mean over valid bins, or over states for the layers view."""
    batch = features.batch(positions)
    frames, mask = getattr(batch, f"{modality}_BxTxC"), getattr(batch, f"{modality}_mask_BxT")
    if frames is None:
        return np.asarray(getattr(batch, f"{modality}_layers_BxSxC"), np.float64).mean(axis=1)
    weight = np.asarray(mask, np.float64)[:, :, None]
    total: NDArray[np.float64] = (np.asarray(frames, np.float64) * weight).sum(1) / np.maximum(weight.sum(1), 1)
    return total


def spaces(features: Features, fitted: Positions, positions: Positions) -> Spaces:
    """Compare the two feature spaces on `positions`; means, scales and CCA come from `fitted` rows."""
    raw = {m: (pooled(features, m, fitted), pooled(features, m, positions)) for m in ("audio", "midi")}
    z = {}
    for m, (before, here) in raw.items():
        mean, sd = before.mean(0), before.std(0)
        scale = np.where(sd > 1e-6 * np.maximum(1, np.abs(mean)), 1 / np.maximum(sd, 1e-12), 0)
        z[m] = ((before - mean) * scale, (here - mean) * scale)
    same_width = z["audio"][1].shape[1] == z["midi"][1].shape[1]
    audio_cca, midi_cca = diagnostics.cca(*(z[m][0] for m in ("audio", "midi")))
    return Spaces(
        rows=len(positions),
        cka=diagnostics.cka(z["audio"][1], z["midi"][1]),
        alignment_raw=diagnostics.alignment(z["audio"][1], z["midi"][1]) if same_width else None,
        alignment_cca=diagnostics.alignment(z["audio"][1] @ audio_cca, z["midi"][1] @ midi_cca),
        mean_cosine={m: diagnostics.mean_pairwise_cosine(raw[m][1]) for m in raw},
        mean_cosine_standardised={m: diagnostics.mean_pairwise_cosine(z[m][1]) for m in z},
        effective_rank={m: diagnostics.effective_rank(z[m][1]) for m in z},
        channels={m: int(z[m][1].shape[1]) for m in z},
    )
