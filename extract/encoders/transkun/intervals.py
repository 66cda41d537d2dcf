"""The best set of intervals under a semi-Markov conditional random field, one track per key or pedal.

Y. Yan, F. Cwitkowitz and Z. Duan, "Skipping the frame-level: event-based piano transcription with neural semi-CRFs",
NeurIPS 2021. A track is a path over the frames: from frame b it steps to b + 1, or jumps to e > b for the score of the
interval (b, e). An interval of one frame is taken wherever its score is above 0. A step without an interval scores 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

Interval = tuple[int, int]


def best_intervals(scores_PxTxT: Tensor, first_frames: list[int]) -> list[list[Interval]]:
    """The intervals (first frame, last frame) of the best path of each track, in order of time.

    scores: of (track, first frame b, last frame e), used where e ≥ b. first_frames: where the path of each track begins.
    """
    alone_PxT = scores_PxTxT.diagonal(dim1=1, dim2=2)
    gain_PxT = alone_PxT.clamp_min(0)
    best_PxT = torch.zeros_like(gain_PxT)
    jump_PxT = torch.full(gain_PxT.shape, -1, dtype=torch.int64, device=scores_PxTxT.device)
    n_frames = scores_PxTxT.shape[1]
    best_PxT[:, -1] = gain_PxT[:, -1]
    for frame in range(n_frames - 2, -1, -1):
        value_P, last_P = (best_PxT[:, frame + 1 :] + scores_PxTxT[:, frame, frame + 1 :]).max(dim=1)
        step_P = best_PxT[:, frame + 1]
        jumps_P = value_P > step_P
        jump_PxT[:, frame] = torch.where(jumps_P, last_P + frame + 1, -1)
        best_PxT[:, frame] = torch.where(jumps_P, value_P, step_P) + gain_PxT[:, frame]
    tracks = zip(jump_PxT.cpu().tolist(), (alone_PxT > 0).cpu().tolist(), first_frames, strict=True)
    return [_path(jump, alone, first) for jump, alone, first in tracks]


def _path(jump: list[int], alone: list[bool], first: int) -> list[Interval]:
    intervals: list[Interval] = []
    frame = first
    while frame < len(jump) - 1:
        if alone[frame]:
            intervals.append((frame, frame))
        if jump[frame] < 0:
            frame += 1
        else:
            intervals.append((frame, jump[frame]))
            frame = jump[frame]
    if alone[-1]:
        intervals.append((len(jump) - 1, len(jump) - 1))
    return intervals
