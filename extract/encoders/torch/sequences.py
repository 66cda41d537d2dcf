"""Batches of token sequences for the MIDI networks, and the pooling of their hidden states over notes and bins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from keybed.extract.encoders import pooling
from keybed.extract.encoders.base import Pooled
from keybed.store.format.recipe import EncoderSpec


@dataclass(frozen=True, eq=False)
class TokenSequence:
    """One row's tokens, or a slice of them. ids: int64 (L, …). bins: (L,), the bin of each pooled token; −1: not pooled."""

    ids: NDArray[np.int64]
    bins: NDArray[np.intp]


_BLANK = TokenSequence(np.zeros(0, np.int64), np.zeros(0, np.intp))


@dataclass(frozen=True)
class SequenceBatches:
    """How sequences are batched: in buckets by length, in row order within each bucket.

    buckets: ascending lengths; a sequence is padded at its end to the next of them. batch_tokens: tokens per batch,
    padding included; each bucket has one fixed number of sequences per batch, and its last batch is filled up with
    padding. pad: ids of a token of padding.
    """

    buckets: tuple[int, ...]
    batch_tokens: int
    pad: int | tuple[int, ...]

    def n_sequences(self, bucket: int) -> int:
        """Number of sequences per batch of a bucket."""
        return max(self.batch_tokens // bucket, 1)

    def of(self, rows: Sequence[Sequence[TokenSequence]]) -> Iterator[tuple[int, list[tuple[int, TokenSequence]]]]:
        """Yield each batch as (bucket, [(row, sequence), …]).

        A row without sequences keeps its position in the bucket of the shortest ones.
        """
        members: dict[int, list[tuple[int, TokenSequence]]] = {bucket: [] for bucket in self.buckets}
        for row, sequences in enumerate(rows):
            for sequence in sequences or (_BLANK,):
                bucket = next(bucket for bucket in self.buckets if len(sequence.ids) <= bucket)
                members[bucket].append((row, sequence))
        for bucket, in_bucket in members.items():
            step = self.n_sequences(bucket)
            for start in range(0, len(in_bucket), step):
                yield bucket, in_bucket[start : start + step]


def pool_sequences(
    spec: EncoderSpec,
    rows: Sequence[Sequence[TokenSequence]],
    failed: NDArray[np.bool_],
    batches: SequenceBatches,
    states: Callable[[Tensor, Tensor], Iterable[Tensor]],
    device: torch.device,
) -> Pooled:
    """Mean and sd of every state over each row's pooled tokens, and the mean of the chosen states per bin.

    rows: each row's sequences. states: a network, from ids (B, L, …) and which tokens are pooled, bool (B, L), to hidden
    states (B, L, D) one after the other. A row without pooled tokens is 0 and masked.
    """
    sums = _Sums(spec, len(rows))
    for length, batch in batches.of(rows):
        ids = np.tile(np.array(batches.pad), (batches.n_sequences(length), length, 1))
        # One row per bin: which tokens are pooled there; the last row: which tokens are pooled at all.
        members = np.zeros((len(ids), spec.n_bins + 1, length), np.float32)
        for index, (_, sequence) in enumerate(batch):
            n_tokens = len(sequence.ids)
            ids[index, :n_tokens] = sequence.ids.reshape(n_tokens, ids.shape[2])
            members[index, :-1, :n_tokens] = sequence.bins == np.arange(spec.n_bins)[:, None]
            members[index, -1, :n_tokens] = sequence.bins >= 0
        # The batch is filled up with padding, so its arrays are longer than `batch`.
        pooled = _pool_batch(spec, ids if ids.shape[2] > 1 else ids[:, :, 0], members, states, device)
        for (row, _), *parts in zip(batch, *pooled, members.sum(2), strict=False):
            sums.add(row, *parts)
    return sums.finish(failed)


def _pool_batch(
    spec: EncoderSpec,
    ids: np.ndarray,
    members: np.ndarray,
    states: Callable[[Tensor, Tensor], Iterable[Tensor]],
    device: torch.device,
) -> tuple[np.ndarray, np.ndarray]:
    """Statistics over the pooled tokens of each sequence, float32.

    Returns mean and summed squared deviation of every state, (B, 2, state, D), and the average of the chosen states
    summed over the pooled tokens of each bin, (B, n_bins, D).
    """
    moments: list[Tensor] = []
    chosen: Tensor | None = None
    with torch.inference_mode():
        members_BxNxL = torch.from_numpy(members).to(device)
        present_Bx1xL = members_BxNxL[:, -1:]
        share_Bx1xL = present_Bx1xL / present_Bx1xL.sum(2, keepdim=True).clamp_min(1)
        for index, state in enumerate(states(torch.from_numpy(ids).to(device), present_Bx1xL[:, 0] > 0)):
            state_BxLxD = state.float()
            mean_Bx1xD = share_Bx1xL @ state_BxLxD
            moments.append(torch.cat([mean_Bx1xD, present_Bx1xL @ (state_BxLxD - mean_Bx1xD).square()], dim=1))
            if index in spec.frame_states:
                chosen = state_BxLxD if chosen is None else chosen + state_BxLxD
        assert chosen is not None
        in_bins = members_BxNxL[:, :-1] @ (chosen / len(spec.frame_states))
        return torch.stack(moments, dim=2).cpu().numpy(), in_bins.cpu().numpy()


class _Sums:
    """Running sums over the sequences of each row; `finish` turns them into means and standard deviations."""

    def __init__(self, spec: EncoderSpec, n_rows: int) -> None:
        self._name = spec.name
        self._mean = np.zeros((n_rows, spec.n_states, spec.width))
        self._squares = np.zeros_like(self._mean)
        self._in_bins = np.zeros((n_rows, spec.n_bins, spec.width))
        self._counts = np.zeros((n_rows, spec.n_bins + 1))

    def add(self, row: int, moments: np.ndarray, in_bins: np.ndarray, counts: np.ndarray) -> None:
        """Add one sequence of a row. Means and squared deviations are combined as in Chan, Golub and LeVeque (1979)."""
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
        in_bin, tokens = self._counts[:, :-1], np.maximum(self._counts[:, -1], 1)
        layers = np.stack([self._mean, np.sqrt(self._squares / tokens[:, None, None])], axis=1)
        frames = (self._in_bins / np.maximum(in_bin, 1)[:, :, None])[:, :, None]
        return pooling.finish(self._name, layers.astype(np.float32), frames.astype(np.float32), in_bin > 0, failed)
