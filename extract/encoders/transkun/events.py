"""From the last state of Transkun to events: intervals of keys and pedals, their exact times and velocities."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import ContinuousBernoulli

from keybed.extract.encoders.transkun.intervals import Interval, best_intervals
from keybed.extract.encoders.transkun.model import Network
from keybed.extract.encoders.transkun.spec import PITCHES, n_frames

_TARGET_SCALE = 0.99
"""The authors trained offsets within a frame, −0.5 to 0.5, as probabilities 0.5 ± 0.495."""
_SHORTEST_S = 1e-8
TRACKS_AT_ONCE = 15
"""Of 90, on a CPU. Upsampled and scored they take 8 MB each."""


@dataclass
class Event:
    """A note, or a pedal held down. pitch: of PITCHES. start_s, end_s: from the beginning of the context.

    has_onset, has_offset: false where it goes on from before, or beyond, the context.
    """

    start_s: float
    end_s: float
    pitch: int
    velocity: int
    has_onset: bool
    has_offset: bool


def events_of(network: Network, state_TxFxD: Tensor, first_frames: list[int]) -> tuple[list[Event], list[int]]:
    """The events of one context, and the frame in which the last whole event of each track ends (0 where there is none).

    state: the network's last one, of one clip. first_frames: of each of PITCHES, where its track begins.
    """
    # No path comes back to the frames before the first one.
    skipped = min(first_frames)
    tracks: list[tuple[int, Interval]] = []
    features: list[Tensor] = []
    n_at_once = TRACKS_AT_ONCE if state_TxFxD.device.type == "cpu" else len(PITCHES)
    for start in range(0, len(PITCHES), n_at_once):
        part = slice(start, start + n_at_once)
        context_PxTxC = _upsampled(network, state_TxFxD[1:, -len(PITCHES) :][:, part])
        intervals = _intervals(network, context_PxTxC[:, skipped:], [first - skipped for first in first_frames[part]])
        found = [(track, (b + skipped, e + skipped)) for track, all_of in enumerate(intervals) for b, e in all_of]
        if found:
            features.append(_features(context_PxTxC, found))
        tracks += [(start + track, interval) for track, interval in found]
    last_ends = [0] * len(PITCHES)
    if not tracks:
        return [], last_ends
    attributes = _attributes(network, torch.cat(features))
    frame_s = network.architecture["hop_length"] / network.architecture["rate_hz"]
    last_frame = n_frames(network.architecture) - 2
    ends_s = [0.0] * len(PITCHES)
    events: list[Event] = []
    for (track, (first, last)), (velocity, shifts, present) in zip(tracks, attributes, strict=True):
        start_s = max((first + shifts[0]) * frame_s, ends_s[track])
        ends_s[track] = max((last + shifts[1]) * frame_s, start_s + _SHORTEST_S)
        has_offset = last < last_frame or present[1]
        if has_offset:
            last_ends[track] = last
        events.append(Event(start_s, ends_s[track], PITCHES[track], velocity, first > 0 or present[0], has_offset))
    return events, last_ends


def _upsampled(network: Network, tokens_TxPxD: Tensor) -> Tensor:
    """One vector per track and spectrogram frame, (P, frames, C), from the tokens of some tracks."""
    return network.upsample(tokens_TxPxD.permute(1, 2, 0))[:, :, : n_frames(network.architecture)].transpose(1, 2)


def _intervals(network: Network, context_PxTxC: Tensor, first_frames: list[int]) -> list[list[Interval]]:
    """The best intervals of some tracks. Their scores take 2 MB per track."""
    return best_intervals(_scores(network.scorer(context_PxTxC), context_PxTxC.shape[2]), first_frames)


def _scores(scored_PxTxC: Tensor, width: int) -> Tensor:
    """Scores of every interval (first frame, last frame): (P, T, T). They grow with the interval's length."""
    ends_PxTxC, begins_PxTxC, alone_PxTx1 = scored_PxTxC.split([width, width, 1], dim=2)
    scores_PxTxT = begins_PxTxC @ (ends_PxTxC / width**0.5).transpose(1, 2)
    frame_T = torch.arange(scores_PxTxT.shape[1], device=scores_PxTxT.device).to(scores_PxTxT.dtype)
    scores_PxTxT *= (frame_T[None] - frame_T[:, None]).abs()
    scores_PxTxT.diagonal(dim1=1, dim2=2).copy_(alone_PxTx1[:, :, 0])
    return scores_PxTxT


def _features(context_PxTxC: Tensor, tracks: list[tuple[int, Interval]]) -> Tensor:
    """What the attributes of each interval are read from, (N, 3 C): the vectors of its ends, and their product."""
    track, first, last = (
        torch.tensor(column, device=context_PxTxC.device)
        for column in zip(*((track, *interval) for track, interval in tracks), strict=True)
    )
    begin_NxC, end_NxC = context_PxTxC[track, first], context_PxTxC[track, last]
    return torch.cat([begin_NxC, end_NxC, begin_NxC * end_NxC], dim=1)


def _attributes(network: Network, features_NxC: Tensor) -> list[tuple[int, list[float], list[bool]]]:
    """Of each interval: its velocity, the shifts of its beginning and end in frames, and whether both are real."""
    velocity_N = network.velocity(features_NxC).argmax(dim=1)
    shift_Nx2, present_Nx2 = network.refinement(features_NxC).chunk(2, dim=1)
    mean_Nx2 = ContinuousBernoulli(logits=shift_Nx2, validate_args=False).mean
    shift_Nx2 = ((mean_Nx2 - 0.5) / _TARGET_SCALE).clamp(-0.5, 0.5)
    return list(zip(velocity_N.tolist(), shift_Nx2.tolist(), (present_Nx2 > 0).tolist(), strict=True))
