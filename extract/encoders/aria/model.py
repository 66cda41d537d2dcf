"""Aria in torch, without the authors' package: a causal transformer over note tokens.

States are pooled at each note's duration token, the first one that depends on all of the note. A token depends on
earlier tokens only: early bins have less context than late ones, and padding at the end changes nothing before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keybed.extract.encoders import pooling
from keybed.extract.encoders.aria import tensors, tokens
from keybed.extract.encoders.aria.spec import LAYER_NORM_EPS, NAME, RANDOM_SEED, ROTARY_BASE
from keybed.extract.encoders.base import Clip, Encoder, Pooled, failed_clips
from keybed.extract.encoders.checkpoint import compare_tensors
from keybed.extract.encoders.errors import WeightsRefused
from keybed.extract.encoders.torch import device
from keybed.extract.encoders.torch.rotary import rotate, rotation_rates, turns
from keybed.extract.encoders.torch.sequences import SequenceBatches, SequencePooling, TokenSequence
from keybed.store.format.recipe import EncoderSpec

BUCKETS = (64, 128, 192, 256, 320, 384, 448, 512, 640, 768, 1024, 1536, 2048)
"""Sequences are padded to the next of these lengths; half of MAESTRO's windows of 10 s have fewer than 292 tokens."""
CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 1024, 8192
"""Tokens per batch, padding included."""


class Aria(Encoder):
    """Aria; see the module's docstring."""

    def __init__(self, spec: EncoderSpec, file: Path | None) -> None:
        self.spec = spec
        self._device, dtype = device.prepare(spec)
        self._model = load_aria(spec, file).to(self._device, dtype)
        batch_tokens = CPU_BATCH_TOKENS if self._device.type == "cpu" else GPU_BATCH_TOKENS
        batches = SequenceBatches(BUCKETS, batch_tokens, tokens.PADDING)
        self._pool = SequencePooling(spec, batches, self._states, self._device)

    def encode(self, clips: Sequence[Clip | None]) -> Pooled:
        """See Encoder.encode. A clip without notes in its window gives a row of zeros, masked in every bin."""
        rows = [[] if clip is None else self._sequences(clip) for clip in clips]
        return self._pool(rows, failed_clips(clips))

    def _states(self, ids_BxL: Tensor, pooled_BxL: Tensor) -> Iterator[Tensor]:
        # Padding is at the end and attention is causal, so no mask is needed.
        return self._model(ids_BxL)

    def _sequences(self, clip: Clip) -> list[TokenSequence]:
        spec, window_s = self.spec, self.spec.preprocessing["window_s"]
        sequences = []
        for ids, note_at, onset_s in clip.tokens[NAME] if NAME in clip.tokens else tokens.of_clip(spec, clip):
            bins = np.full(ids.shape, -1, np.intp)
            bins[note_at] = pooling.note_bins(onset_s, spec.n_bins, window_s)
            sequences.append(TokenSequence(ids, bins))
        return sequences


class AriaStates(nn.Module):
    """Token ids (B, L) in, hidden states (B, L, D) out, one after the other. Parameters have the checkpoint's names."""

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        width = architecture["hidden_size"]
        self.head_width = width // architecture["num_attention_heads"]
        self.tok_embeddings = nn.Embedding(architecture["vocab_size"], width)
        self.encode_layers = nn.ModuleList(Layer(architecture) for _ in range(architecture["num_hidden_layers"]))
        self.out_layer_norm = nn.LayerNorm(width, LAYER_NORM_EPS)
        self.emb_head: nn.Linear | None = None
        """Only in the checkpoint of the embedding model."""

    def forward(self, ids_BxL: Tensor) -> Iterator[Tensor]:
        """Yield n_layers + 2 states: the token embedding, the output of every layer, and of the final norm."""
        state_BxLxD = self.tok_embeddings(ids_BxL)
        rates_d = rotation_rates(self.head_width, ROTARY_BASE).to(ids_BxL.device)
        turns_2xLxd = turns(ids_BxL.shape[1], rates_d)
        yield state_BxLxD
        for layer in self.encode_layers:
            state_BxLxD = layer(state_BxLxD, turns_2xLxd)
            yield state_BxLxD
        yield self.out_layer_norm(state_BxLxD)

    def embed(self, ids_BxL: Tensor) -> Tensor:
        """Output of the embedding model's head at every token, (B, L, embedding size). At `<E>` it is the sequence's embedding.

        Raises WeightsRefused where the checkpoint has no such head.
        """
        if self.emb_head is None:
            raise WeightsRefused(f"{NAME}: this checkpoint has no emb_head; the hub's aria-medium-embedding has one")
        *_, last_BxLxD = self(ids_BxL)
        return self.emb_head(last_BxLxD)


class Layer(nn.Module):
    """x + attention(norm1 x), then x + feed-forward(norm2 x): causal attention, rotary positions, SwiGLU, no biases."""

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        width, inner = architecture["hidden_size"], architecture["intermediate_size"]
        self.n_heads = architecture["num_attention_heads"]
        self.norm1, self.norm2 = (nn.LayerNorm(width, LAYER_NORM_EPS) for _ in range(2))
        self.mixed_qkv = nn.Linear(width, 3 * width, bias=False)
        self.att_proj_linear = nn.Linear(width, width, bias=False)
        self.ff_gate_proj, self.ff_up_proj = (nn.Linear(width, inner, bias=False) for _ in range(2))
        self.ff_down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x_BxLxD: Tensor, turns_2xLxd: Tensor) -> Tensor:
        """(B, L, D) to (B, L, D)."""
        heads = (*x_BxLxD.shape[:2], 3, self.n_heads, -1)
        query, key, value = self.mixed_qkv(self.norm1(x_BxLxD)).view(heads).permute(2, 0, 3, 1, 4)
        query, key = rotate(query, turns_2xLxd), rotate(key, turns_2xLxd)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x_BxLxD = x_BxLxD + self.att_proj_linear(mixed.transpose(1, 2).flatten(2))
        inner = self.norm2(x_BxLxD)
        gated = F.silu(self.ff_gate_proj(inner), inplace=True).mul_(self.ff_up_proj(inner))
        return x_BxLxD + self.ff_down_proj(gated)


def load_aria(spec: EncoderSpec, file: Path | None) -> AriaStates:
    """The model with the tensors of a base or embedding checkpoint, or with random weights where file is None.

    Raises WeightsRefused with the name of every tensor that is missing, unexpected or of another shape.
    """
    with torch.device("meta"):
        model = AriaStates(spec.preprocessing["architecture"])
    wanted = model.state_dict()
    state = device.draw(wanted, RANDOM_SEED) if file is None else device.own_tensors(spec, file, tensors.own)
    head = state.pop(tensors.HEAD, None)
    compare_tensors(NAME, file or "random", wanted, state)
    if head is not None:
        if head.ndim != 2 or head.shape[1] != spec.width:
            raise WeightsRefused(f"{NAME}: {file} has {tensors.HEAD} {tuple(head.shape)}, not (…, {spec.width})")
        model.emb_head = nn.Linear(spec.width, len(head), bias=False, device="meta")
        state[tensors.HEAD] = head
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()}, assign=True)
    return model.eval().requires_grad_(False)
