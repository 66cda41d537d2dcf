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
    context_PxTxC = _upsampled(network, state_TxFxD)
    # No path comes back to the frames before the first one.
    skipped = min(first_frames)
    intervals = _intervals(network, context_PxTxC[:, skipped:], [first - skipped for first in first_frames])
    tracks = [(track, (b + skipped, e + skipped)) for track, found in enumerate(intervals) for b, e in found]
    last_ends = [0] * len(PITCHES)
    if not tracks:
        return [], last_ends
    attributes = _attributes(network, context_PxTxC, tracks)
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


def _upsampled(network: Network, state_TxFxD: Tensor) -> Tensor:
    """The tokens of PITCHES, one vector per spectrogram frame, (P, frames, C)."""
    tokens_PxDxT = state_TxFxD[1:, -len(PITCHES) :].permute(1, 2, 0)
    return network.upsample(tokens_PxDxT)[:, :, : n_frames(network.architecture)].transpose(1, 2)


def _intervals(network: Network, context_PxTxC: Tensor, first_frames: list[int]) -> list[list[Interval]]:
    """The best intervals of every track. The scores of TRACKS_AT_ONCE tracks are in memory at a time: 2 MB per track."""
    width, found = context_PxTxC.shape[2], []
    scored_PxTxC = network.scorer(context_PxTxC)
    for start in range(0, len(first_frames), TRACKS_AT_ONCE):
        part = slice(start, start + TRACKS_AT_ONCE)
        found += best_intervals(_scores(scored_PxTxC[part], width), first_frames[part])
    return found


def _scores(scored_PxTxC: Tensor, width: int) -> Tensor:
    """Scores of every interval (first frame, last frame): (P, T, T). They grow with the interval's length."""
    ends_PxTxC, begins_PxTxC, alone_PxTx1 = scored_PxTxC.split([width, width, 1], dim=2)
    scores_PxTxT = begins_PxTxC @ (ends_PxTxC / width**0.5).transpose(1, 2)
    frame_T = torch.arange(scores_PxTxT.shape[1], device=scores_PxTxT.device).to(scores_PxTxT.dtype)
    scores_PxTxT *= (frame_T[None] - frame_T[:, None]).abs()
    scores_PxTxT.diagonal(dim1=1, dim2=2).copy_(alone_PxTx1[:, :, 0])
    return scores_PxTxT


def _attributes(
    network: Network, context_PxTxC: Tensor, tracks: list[tuple[int, Interval]]
) -> list[tuple[int, list[float], list[bool]]]:
    """Of each interval: its velocity, the shifts of its beginning and end in frames, and whether both are real."""
    track, first, last = (
        torch.tensor(column, device=context_PxTxC.device)
        for column in zip(*((track, *interval) for track, interval in tracks), strict=True)
    )
    begin_NxC, end_NxC = context_PxTxC[track, first], context_PxTxC[track, last]
    features = torch.cat([begin_NxC, end_NxC, begin_NxC * end_NxC], dim=1)
    velocity_N = network.velocity(features).argmax(dim=1)
    shift_Nx2, present_Nx2 = network.refinement(features).chunk(2, dim=1)
    mean_Nx2 = ContinuousBernoulli(logits=shift_Nx2, validate_args=False).mean
    shift_Nx2 = ((mean_Nx2 - 0.5) / _TARGET_SCALE).clamp(-0.5, 0.5)
    return list(zip(velocity_N.tolist(), shift_Nx2.tolist(), (present_Nx2 > 0).tolist(), strict=True))
