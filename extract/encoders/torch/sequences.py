"""Batches of token sequences for the MIDI networks, and the pooling of their hidden states over notes and bins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from keybed.extract.encoders import pooling
from keybed.extract.encoders.base import Pooled
from keybed.extract.encoders.torch.graph import RecordedByShape
from keybed.extract.encoders.torch.transfer import fetch_later, narrow_dtype, narrowed, to_device
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


class SequencePooling:
    """Mean and sd of every state over each row's pooled tokens, and the mean of the chosen states per bin.

    states: a network, from ids (B, L, …) and which tokens are pooled, bool (B, L), to hidden states (B, L, D) one after the
    other. recorded: on a GPU, a batch of each bucket is recorded as a CUDA graph, for networks of many small kernels.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        batches: SequenceBatches,
        states: Callable[[Tensor, Tensor], Iterable[Tensor]],
        device: torch.device,
        *,
        recorded: bool = False,
    ) -> None:
        self._spec, self._batches, self._device = spec, batches, device
        run = partial(_pool_batch, spec, states)
        self._run: Callable[[Tensor, Tensor], tuple[Tensor, ...]] = RecordedByShape(run) if recorded else run

    def __call__(self, rows: Sequence[Sequence[TokenSequence]], failed: NDArray[np.bool_]) -> Pooled:
        """Pool each row's sequences. A row without pooled tokens is 0 and masked."""
        spec = self._spec
        n_sequences = [max(len(sequences), 1) for sequences in rows]
        layers, frames, mask = pooling.zeros(spec, len(rows), narrow_dtype(self._device))
        sizes = np.zeros((len(rows), 2), np.float32)
        several: dict[int, _Sums] = {}

        def keep(batch: list[tuple[int, TokenSequence]], fetch: Callable[[], list[NDArray]]) -> None:
            # The batch is filled up with padding, so its arrays are longer than `batch`.
            in_rows = np.array([row for row, _ in batch])
            of_layers, of_frames, of_mask, of_sizes = (values[: len(batch)] for values in fetch())
            layers[in_rows], frames[in_rows], mask[in_rows], sizes[in_rows] = of_layers, of_frames, of_mask, of_sizes

        before: tuple[list[tuple[int, TokenSequence]], Callable[[], list[NDArray]]] | None = None
        for length, batch in self._batches.of(rows):
            ids, bins = _padded(self._batches, length, [sequence for _, sequence in batch])
            outputs = self._run(to_device(ids, self._device), to_device(bins, self._device))
            pooled, finished = _Pooled(*outputs[: len(_Pooled._fields)]), outputs[len(_Pooled._fields) :]
            for index, (row, _) in enumerate(batch):
                if n_sequences[row] > 1:
                    several.setdefault(row, _Sums(spec)).add(pooled, index)
            # On a GPU the batch is only queued; the results of the previous batch are fetched meanwhile.
            if before is not None:
                keep(*before)
            before = batch, fetch_later(finished)
        if before is not None:
            keep(*before)
        for row, sums in several.items():
            keep([(row, _BLANK)], fetch_later(sums.pooled().finished()))
        pooling.check_sizes(spec.name, sizes, failed)
        return pooling.blank_failed(layers, frames, mask, failed)


def _padded(
    batches: SequenceBatches, length: int, sequences: Sequence[TokenSequence]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids (B, L, …) and bins (B, L) of a batch, filled up with padding, whose bin is −1."""
    ids = np.tile(np.array(batches.pad), (batches.n_sequences(length), length, 1))
    bins = np.full(ids.shape[:2], -1, np.int64)
    for index, sequence in enumerate(sequences):
        n_tokens = len(sequence.ids)
        ids[index, :n_tokens] = sequence.ids.reshape(n_tokens, ids.shape[2])
        bins[index, :n_tokens] = sequence.bins
    return ids if ids.shape[2] > 1 else ids[:, :, 0], bins


class _Pooled(NamedTuple):
    """Statistics over the pooled tokens of each sequence of a batch, on its device.

    mean, squares: of every state, (B, state, D): mean, and summed squared deviation from it. in_bins: the average of the
    chosen states summed over the pooled tokens of each bin, (B, n_bins, D). counts: pooled tokens in each bin, and of the
    whole sequence, (B, n_bins + 1).
    """

    mean: Tensor
    squares: Tensor
    in_bins: Tensor
    counts: Tensor

    def finished(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Layers, frames, mask and sizes (`narrowed`) of rows that have one sequence each. Divided in float64."""
        in_bin, tokens = self.counts[:, :-1], self.counts[:, -1].clamp_min(1)
        sd = (self.squares.double() / tokens[:, None, None]).sqrt().float()
        frames = (self.in_bins.double() / in_bin.clamp_min(1)[:, :, None]).float()[:, :, None]
        layers, frames, sizes = narrowed(torch.stack([self.mean.float(), sd], dim=1), frames)
        return layers, frames, in_bin > 0, sizes


def _pool_batch(
    spec: EncoderSpec, states: Callable[[Tensor, Tensor], Iterable[Tensor]], ids_BxL: Tensor, bins_BxL: Tensor
) -> tuple[Tensor, ...]:
    """The tensors of `_Pooled`, and those of its `finished`, of a batch on its device."""
    means: list[Tensor] = []
    squares: list[Tensor] = []
    chosen: Tensor | None = None
    with torch.inference_mode():
        present_Bx1xL = (bins_BxL >= 0).float()[:, None]
        count_Bx1 = present_Bx1xL.sum(2)
        share_Bx1xL = present_Bx1xL / count_Bx1[:, :, None].clamp_min(1)
        for index, state in enumerate(states(ids_BxL, bins_BxL >= 0)):
            state_BxLxD = state.float()
            mean_Bx1xD = share_Bx1xL @ state_BxLxD
            means.append(mean_Bx1xD)
            squares.append(present_Bx1xL @ (state_BxLxD - mean_Bx1xD).square())
            if index in spec.frame_states:
                chosen = state_BxLxD if chosen is None else chosen + state_BxLxD
        assert chosen is not None
        members_BxNxL = (bins_BxL[:, None] == torch.arange(spec.n_bins, device=bins_BxL.device)[:, None]).float()
        in_bins = members_BxNxL @ (chosen / len(spec.frame_states))
        counts = torch.cat([members_BxNxL.sum(2), count_Bx1], dim=1).double()
        pooled = _Pooled(torch.cat(means, dim=1), torch.cat(squares, dim=1), in_bins, counts)
        return *pooled, *pooled.finished()


class _Sums:
    """Running sums, in float64, over the sequences of one row that has several."""

    def __init__(self, spec: EncoderSpec) -> None:
        self._mean = np.zeros((spec.n_states, spec.width))
        self._squares = np.zeros_like(self._mean)
        self._in_bins = np.zeros((spec.n_bins, spec.width))
        self._counts = np.zeros(spec.n_bins + 1)
        self._device = torch.device("cpu")

    def add(self, pooled: _Pooled, index: int) -> None:
        """Add one sequence of a batch. Means and squared deviations are combined as in Chan, Golub and LeVeque (1979)."""
        self._device = pooled.mean.device
        mean, squares, in_bins, counts = (values[index].double().cpu().numpy() for values in pooled)
        before, more = self._counts[-1], counts[-1]
        if more > 0:
            difference = mean - self._mean
            self._mean += difference * (more / (before + more))
            self._squares += squares + difference**2 * (before * more / (before + more))
        self._in_bins += in_bins
        self._counts += counts

    def pooled(self) -> _Pooled:
        """The same of the whole row, as a batch of one."""
        arrays = (self._mean, self._squares, self._in_bins, self._counts)
        return _Pooled(*(torch.from_numpy(values[None]).to(self._device) for values in arrays))
