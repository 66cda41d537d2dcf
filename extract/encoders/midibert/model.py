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

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keybed.extract.encoders import pooling
from keybed.extract.encoders.base import Clip, Encoder, Pooled, failed_clips
from keybed.extract.encoders.errors import EncoderError, WeightsRefused
from keybed.extract.encoders.midibert import cp_tokens
from keybed.extract.encoders.midibert.spec import NAME, RANDOM_SEED
from keybed.extract.encoders.torch import device
from keybed.store.format.recipe import EncoderSpec

EMBEDDING_SIZE = 256
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
        self._batch_tokens = CPU_BATCH_TOKENS if self._device.type == "cpu" else GPU_BATCH_TOKENS

    def encode(self, clips: Sequence[Clip | None]) -> Pooled:
        """See Encoder.encode. Sequences are batched in buckets by length, in row order within each bucket.

        Raises EncoderError for a clip without notes in its window.
        """
        spec, n_rows = self.spec, len(clips)
        tokens = [self._tokens(clip, row) for row, clip in enumerate(clips)]
        sums = _Sums(spec, n_rows)
        for length, batch in self._batches(tokens):
            ids = np.tile(np.array(cp_tokens.PAD), (self._batch_tokens // length, length, 1))
            # One row per bin: which tokens are its notes; the last row: which tokens are notes and not padding.
            members = np.zeros((len(ids), spec.n_bins + 1, length), np.float32)
            for index, (row, part) in enumerate(batch):
                n_notes = part.stop - part.start
                ids[index, :n_notes] = tokens[row].ids[part]
                bins = pooling.bins_of(tokens[row].onset_s[part], spec.n_bins, spec.preprocessing["window_s"])
                members[index, :-1, :n_notes] = bins == np.arange(spec.n_bins)[:, None]
                members[index, -1, :n_notes] = 1
            # The batch is filled up with padding, so its arrays are longer than `batch`.
            for (row, _), *slice_sums in zip(batch, *self._encode_batch(ids, members), members.sum(2), strict=False):
                sums.add(row, *slice_sums)
        return sums.finish(failed_clips(clips))

    def _tokens(self, clip: Clip | None, row: int) -> cp_tokens.Tokens:
        if clip is None:
            return cp_tokens.Tokens(np.zeros((0, 4), np.int64), np.zeros(0))
        tokens = cp_tokens.tokenize(clip.performance, clip.window_s)
        if len(tokens.ids) == 0:
            raise EncoderError(
                f"{NAME}: row {row} of this shard has no note that begins in its window; its status is NO_NOTES"
            )
        return tokens

    def _batches(self, tokens: list[cp_tokens.Tokens]) -> Iterator[tuple[int, list[tuple[int, slice]]]]:
        buckets: dict[int, list[tuple[int, slice]]] = {length: [] for length in BUCKETS}
        for row, (ids, _) in enumerate(tokens):
            # A failed row has no tokens; it keeps its position in the bucket of the shortest sequences.
            for part in cp_tokens.slices(len(ids)) or [slice(0, 0)]:
                length = next(bucket for bucket in BUCKETS if part.stop - part.start <= bucket)
                buckets[length].append((row, part))
        for length, members in buckets.items():
            n_sequences = self._batch_tokens // length
            for start in range(0, len(members), n_sequences):
                yield length, members[start : start + n_sequences]

    def _encode_batch(self, ids: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Statistics over the notes of each sequence, float32.

        Returns mean and summed squared deviation of every state, (B, 2, state, D), and the average of the chosen states
        summed over the notes of each bin, (B, n_bins, D).
        """
        moments: list[Tensor] = []
        chosen: Tensor | None = None
        with torch.inference_mode():
            members_BxNxL = torch.from_numpy(members).to(self._device)
            present_Bx1xL = members_BxNxL[:, -1:]
            share_Bx1xL = present_Bx1xL / present_Bx1xL.sum(2, keepdim=True).clamp_min(1)
            for index, state in enumerate(self._model(torch.from_numpy(ids).to(self._device), present_Bx1xL[:, 0] > 0)):
                state_BxLxD = state.float()
                mean_Bx1xD = share_Bx1xL @ state_BxLxD
                moments.append(torch.cat([mean_Bx1xD, present_Bx1xL @ (state_BxLxD - mean_Bx1xD).square()], dim=1))
                if index in self.spec.frame_states:
                    chosen = state_BxLxD if chosen is None else chosen + state_BxLxD
            assert chosen is not None
            in_bins = members_BxNxL[:, :-1] @ (chosen / len(self.spec.frame_states))
            return torch.stack(moments, dim=2).cpu().numpy(), in_bins.cpu().numpy()


class _Sums:
    """Running sums over the slices of each row; `finish` turns them into means and standard deviations."""

    def __init__(self, spec: EncoderSpec, n_rows: int) -> None:
        self._mean = np.zeros((n_rows, spec.n_states, spec.width))
        self._squares = np.zeros_like(self._mean)
        self._in_bins = np.zeros((n_rows, spec.n_bins, spec.width))
        self._counts = np.zeros((n_rows, spec.n_bins + 1))

    def add(self, row: int, moments: np.ndarray, in_bins: np.ndarray, counts: np.ndarray) -> None:
        """Add one slice of a row. Means and squared deviations are combined as in Chan, Golub and LeVeque (1979)."""
        mean, squares = moments.astype(np.float64)
        before, more = self._counts[row, -1], counts[-1]
        if more > 0:
            difference = mean - self._mean[row]
            self._mean[row] += difference * (more / (before + more))
            self._squares[row] += squares + difference**2 * (before * more / (before + more))
        self._in_bins[row] += in_bins
        self._counts[row] += counts

    def finish(self, failed: np.ndarray) -> Pooled:
        """Means and standard deviations of all rows."""
        in_bin, notes = self._counts[:, :-1], np.maximum(self._counts[:, -1], 1)
        layers = np.stack([self._mean, np.sqrt(self._squares / notes[:, None, None])], axis=1)
        frames = (self._in_bins / np.maximum(in_bin, 1)[:, :, None])[:, :, None]
        return pooling.finish(NAME, layers.astype(np.float32), frames.astype(np.float32), in_bin > 0, failed)


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
    state = device.draw(wanted, RANDOM_SEED) if file is None else _model_tensors(spec, file)
    device.compare_tensors(NAME, file or "random", wanted, state)
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()}, assign=True)
    return model.requires_grad_(False)


_UNUSED = (
    "bert.embeddings.word_embeddings.weight",
    "bert.embeddings.position_embeddings.weight",
    "bert.embeddings.position_ids",
    "bert.pooler.dense.weight",
    "bert.pooler.dense.bias",
)
"""Tensors of every checkpoint of the authors that the model does not use: it passes its own embeddings to BertModel."""
_HEADS = ("classifier.", "attention.ws1.", "attention.ws2.", "mask_lm.")
"""Heads that fine-tuning and pre-training add to the model."""


def _model_tensors(spec: EncoderSpec, file: Path) -> dict[str, Tensor]:
    checkpoint = device.read_checkpoint(spec, file)
    inner = checkpoint.get("state_dict", checkpoint)
    if not isinstance(inner, dict) or not all(isinstance(tensor, Tensor) for tensor in inner.values()):
        raise WeightsRefused(
            f'{NAME}: {file} holds no "state_dict" of tensors as the authors\' checkpoints do; '
            f"it has {', '.join(sorted(map(str, checkpoint))[:8])}"
        )
    state = {name.removeprefix("module."): tensor for name, tensor in inner.items()}
    prefix = "midibert."
    if any(name.startswith(prefix) for name in state):
        state = {
            name.removeprefix(prefix): tensor
            for name, tensor in state.items()
            if name.startswith(prefix) or not name.startswith(_HEADS)
        }
    return {name: tensor for name, tensor in state.items() if name not in _UNUSED}
