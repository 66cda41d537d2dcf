"""Looking inside: attention before and after training, the gate's weights, and the two modalities' feature spaces."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.features import Features, Positions
from keybed.experiments.evaluation import diagnostics
from keybed.heads import fitted, models
from keybed.heads.inputs import HeadInput
from keybed.store.format.vocabulary import DIMENSIONS

MOST_ROWS = 512
"""Rows that are looked at; means over them change little with more."""


def sample(positions: Positions) -> Positions:
    """At most MOST_ROWS of the positions, evenly spread."""
    return positions[np.linspace(0, len(positions) - 1, min(MOST_ROWS, len(positions))).astype(np.int64)]


def attention(result: fitted.FitResult, head: str, features: Features, positions: Positions) -> dict[str, Any] | None:
    """Entropy and sparsity of both directions, trained and untrained, and the mean maps.

    None for heads without attention, and for views without a time grid: there each modality is one token, which gets it all.
    """
    batch = features.batch(positions)
    if batch.audio_mask_BxT is None or batch.midi_mask_BxT is None:
        return None
    look = fitted.attend(result, head, [batch]).output
    if look.audio_to_midi_BxHxTxT is None:
        return None
    fresh = fitted.attend(_untrained(result, head, batch), head, [batch]).output
    masks = {"audio": np.asarray(batch.audio_mask_BxT), "midi": np.asarray(batch.midi_mask_BxT)}
    found: dict[str, Any] = {"head": head, "rows": len(positions)}
    for direction, asking, asked in (("audio_to_midi", "audio", "midi"), ("midi_to_audio", "midi", "audio")):
        trained, untrained = getattr(look, f"{direction}_BxHxTxT"), getattr(fresh, f"{direction}_BxHxTxT")
        key_mask = np.broadcast_to(masks[asked][:, None, None, :], trained.shape)
        queries = np.broadcast_to(masks[asking][:, None, :], trained.shape[:3]) & (key_mask.sum(-1) > 1)
        each: dict[str, Any] = {}
        for name, weights in (("trained", trained), ("untrained", untrained)):
            entropy = diagnostics.attention_entropy(weights, key_mask)[queries]
            sparsity = diagnostics.attention_sparsity(weights, key_mask)[queries]
            each[name] = {"entropy": _mean(entropy), "sparsity": _mean(sparsity)}
        asked_often = np.maximum(queries.sum(axis=(0, 1)), 1)[:, None]
        each["map"] = np.where(queries[..., None], trained, 0).sum(axis=(0, 1)) / asked_often
        found[direction] = each
    return found


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


def pooled(features: Features, modality: str, positions: Positions) -> NDArray[np.float64]:
    """(row, channel): mean over valid bins, or over states for the layers view."""
    batch = features.batch(positions)
    frames, mask = getattr(batch, f"{modality}_BxTxC"), getattr(batch, f"{modality}_mask_BxT")
    if frames is None:
        return np.asarray(getattr(batch, f"{modality}_layers_BxSxC"), np.float64).mean(axis=1)
    weight = np.asarray(mask, np.float64)[:, :, None]
    total: NDArray[np.float64] = (np.asarray(frames, np.float64) * weight).sum(1) / np.maximum(weight.sum(1), 1)
    return total


def spaces(features: Features, fitted: Positions, positions: Positions) -> dict[str, Any]:
    """What the two feature spaces have in common on `positions`; means, scales and CCA come from `fitted` rows."""
    raw = {m: (pooled(features, m, fitted), pooled(features, m, positions)) for m in ("audio", "midi")}
    z = {}
    for m, (before, here) in raw.items():
        mean, sd = before.mean(0), before.std(0)
        scale = np.where(sd > 1e-6 * np.maximum(1, np.abs(mean)), 1 / np.maximum(sd, 1e-12), 0)
        z[m] = ((before - mean) * scale, (here - mean) * scale)
    same_width = z["audio"][1].shape[1] == z["midi"][1].shape[1]
    audio_cca, midi_cca = diagnostics.cca(*(z[m][0] for m in ("audio", "midi")))
    return {
        "rows": len(positions),
        "cka": diagnostics.cka(z["audio"][1], z["midi"][1]),
        "alignment_raw": diagnostics.alignment(z["audio"][1], z["midi"][1]) if same_width else None,
        "alignment_cca": diagnostics.alignment(z["audio"][1] @ audio_cca, z["midi"][1] @ midi_cca),
        "mean_cosine": {m: diagnostics.mean_pairwise_cosine(raw[m][1]) for m in raw},
        "mean_cosine_standardised": {m: diagnostics.mean_pairwise_cosine(z[m][1]) for m in z},
        "effective_rank": {m: diagnostics.effective_rank(z[m][1]) for m in z},
        "channels": {m: int(z[m][1].shape[1]) for m in z},
    }
