"""MIDIBert in torch: a BERT with relative-key-query attention, which transformers 5 no longer has.

The model of MIDI-BERT (https://github.com/wazenmai/MIDI-BERT, MidiBERT/model.py) on BertModel with
position_embedding_type "relative_key_query" (Huang et al., arXiv 2009.13658, method 4): the score of query l and key r
is (q·k + q·E[l−r] + k·E[l−r]) / √d, and there are no absolute positions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keybed.extract.encoders import pooling
from keybed.extract.encoders.base import Clip, Encoder, Pooled, failed_clips
from keybed.extract.encoders.checkpoint import compare_tensors
from keybed.extract.encoders.errors import EncoderError
from keybed.extract.encoders.midibert import cp_tokens, tensors
from keybed.extract.encoders.midibert.spec import NAME, RANDOM_SEED
from keybed.extract.encoders.midibert.tensors import EMBEDDING_SIZE
from keybed.extract.encoders.torch import device
from keybed.extract.encoders.torch.sequences import SequenceBatches, SequencePooling, TokenSequence
from keybed.store.format.recipe import EncoderSpec

BUCKETS = (32, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512)
"""Sequences are padded to the next of these lengths."""
CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 512, 4096
"""Tokens per batch, padding included; each bucket has one fixed number of sequences per batch.

The last batch of every bucket is filled up, so larger batches hold more padding: with 32,768 tokens, a shard of 512 rows
would hold more padding than if each row were padded to 512.
"""


class MidiBert(Encoder):
    """MIDIBert; see the module's docstring."""

    def __init__(self, spec: EncoderSpec, file: Path | None) -> None:
        self.spec = spec
        self._device, self._dtype = device.prepare(spec)
        self._model = load_midibert(spec, file).to(self._device, self._dtype).eval()
        batch_tokens = CPU_BATCH_TOKENS if self._device.type == "cpu" else GPU_BATCH_TOKENS
        batches = SequenceBatches(BUCKETS, batch_tokens, cp_tokens.PAD)
        self._pool = SequencePooling(spec, batches, self._model, self._device, recorded=True)

    def encode(self, clips: Sequence[Clip | None]) -> Pooled:
        """See Encoder.encode. Raises EncoderError for a clip without notes in its window."""
        rows = [[] if clip is None else self._sequences(clip, row) for row, clip in enumerate(clips)]
        return self._pool(rows, failed_clips(clips))

    def _sequences(self, clip: Clip, row: int) -> list[TokenSequence]:
        tokens = clip.tokens[NAME] if NAME in clip.tokens else cp_tokens.of_clip(self.spec, clip)
        if len(tokens.ids) == 0:
            raise EncoderError(
                f"{NAME}: row {row} of this shard has no note that begins in its window; its status is NO_NOTES"
            )
        bins = pooling.note_bins(tokens.onset_s, self.spec.n_bins, self.spec.preprocessing["window_s"])
        return [TokenSequence(tokens.ids[part], bins[part]) for part in cp_tokens.slices(len(tokens.ids))]


class MidiBertStates(nn.Module):
    """Token ids (B, L, 4) in, hidden states (B, L, D) out, one after the other. Parameters have the authors' names."""

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        width, eps = architecture["hidden_size"], architecture["layer_norm_eps"]
        self.word_emb = nn.ModuleList(
            nn.ModuleDict({"lut": nn.Embedding(size, EMBEDDING_SIZE)}) for size in cp_tokens.VOCABULARY_SIZES
        )
        self.in_linear = nn.Linear(EMBEDDING_SIZE * len(cp_tokens.VOCABULARY_SIZES), width)
        embeddings = nn.ModuleDict(
            {"token_type_embeddings": nn.Embedding(2, width), "LayerNorm": nn.LayerNorm(width, eps)}
        )
        layers = nn.ModuleList(Layer(architecture) for _ in range(architecture["num_hidden_layers"]))
        self.bert = nn.ModuleDict({"embeddings": embeddings, "encoder": nn.ModuleDict({"layer": layers})})

    def forward(self, ids_BxLx4: Tensor, present_BxL: Tensor) -> Iterator[Tensor]:
        """Yield n_layers + 1 states. present_BxL: bool, false where a token is padding, which gets no attention."""
        parts = [table["lut"](ids_BxLx4[..., kind]) for kind, table in enumerate(self.word_emb)]  # type: ignore[index,operator]
        state = self.in_linear(torch.cat(parts, dim=-1) * math.sqrt(EMBEDDING_SIZE))
        embeddings = self.bert["embeddings"]
        state = embeddings["LayerNorm"](state + embeddings["token_type_embeddings"].weight[0])  # type: ignore[index]
        padding_Bx1x1xL = torch.zeros_like(present_BxL, dtype=state.dtype).masked_fill_(~present_BxL, -math.inf)[
            :, None, None
        ]
        # A sequence of padding alone attends to all of it: a softmax over only −inf would give NaN.
        padding_Bx1x1xL = padding_Bx1x1xL.masked_fill(~present_BxL.any(1)[:, None, None, None], 0.0)
        for layer in self.bert["encoder"]["layer"]:  # type: ignore[index]
            yield state
            state = layer(state, padding_Bx1x1xL)
        yield state


class Layer(nn.Module):
    """One post-norm BERT layer with relative-key-query attention."""

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        width, inner, eps = (architecture[key] for key in ("hidden_size", "intermediate_size", "layer_norm_eps"))
        self.n_heads = architecture["num_attention_heads"]
        self.max_length = architecture["max_position_embeddings"]
        attention: dict[str, nn.Module] = {name: nn.Linear(width, width) for name in ("query", "key", "value")}
        attention["distance_embedding"] = nn.Embedding(2 * self.max_length - 1, width // self.n_heads)
        self.attention = nn.ModuleDict({"self": nn.ModuleDict(attention), "output": _output(width, width, eps)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = _output(inner, width, eps)

    def forward(self, state_BxLxD: Tensor, padding_Bx1x1xL: Tensor) -> Tensor:
        """Apply the layer. padding is added to the attention scores: −inf where a key is padding."""
        own, out = self.attention["self"], self.attention["output"]
        heads = (*state_BxLxD.shape[:2], self.n_heads, -1)
        query, key, value = (
            own[name](state_BxLxD).view(heads).transpose(1, 2)  # type: ignore[index]
            for name in ("query", "key", "value")
        )
        length = state_BxLxD.shape[1]
        distances = own["distance_embedding"].weight[self.max_length - length : self.max_length + length - 1]  # type: ignore[index]
        bias_BxHxLxL = relative_scores(query, key, distances) / math.sqrt(query.shape[-1]) + padding_Bx1x1xL
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias_BxHxLxL)
        attended = out["dense"](mixed.transpose(1, 2).flatten(2))  # type: ignore[index]
        state_BxLxD = out["LayerNorm"](attended + state_BxLxD)  # type: ignore[index]
        inner = F.gelu(self.intermediate["dense"](state_BxLxD))
        return self.output["LayerNorm"](self.output["dense"](inner) + state_BxLxD)


def _output(wide: int, width: int, eps: float) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(wide, width), "LayerNorm": nn.LayerNorm(width, eps)})


def relative_scores(query_BxHxLxd: Tensor, key_BxHxLxd: Tensor, distances_Mxd: Tensor) -> Tensor:
    """q_l · E[l−r] + k_r · E[l−r] for all l and r, (B, H, L, L).

    distances: E for −(L−1) … L−1, (2L−1, d). Each term is one product with every distance and a view of its diagonals;
    an einsum would gather an (L, L, d) table first.
    """
    by_query = query_BxHxLxd @ distances_Mxd.flip(0).T
    by_key = key_BxHxLxd @ distances_Mxd.T
    return _diagonals(by_query) + _diagonals(by_key).transpose(-1, -2)


def _diagonals(scores_BxHxLxM: Tensor) -> Tensor:
    """[…, i, j] = scores[…, i, j − i + L − 1], as a view."""
    scores = scores_BxHxLxM.contiguous()
    b, h, length, m = scores.shape
    return scores.as_strided((b, h, length, length), (h * length * m, length * m, m - 1, 1), length - 1)


def load_midibert(spec: EncoderSpec, file: Path | None) -> MidiBertStates:
    """The model with the tensors of a checkpoint of the authors (pre-trained or fine-tuned), or with random weights.

    file: None for random weights. Raises WeightsRefused with the name of every tensor that is missing, unexpected or of
    another shape.
    """
    with torch.device("meta"):
        model = MidiBertStates(spec.preprocessing["architecture"])
    wanted = model.state_dict()
    state = device.draw(wanted, RANDOM_SEED) if file is None else device.own_tensors(spec, file, tensors.own)
    compare_tensors(NAME, file or "random", wanted, state)
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()}, assign=True)
    return model.requires_grad_(False)
