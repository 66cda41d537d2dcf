"""Audit of a store with rooms: room and microphone tell neither tier nor score, and how well features tell the room.

    keybed plan MAESTRO_DIR STORE --limit 90 --rooms 6; keybed extract STORE
    python -m keybed.experiments.audits.rooms STORE

Prints three tables:

- rows of each room by tier and by split;
- r of each measure of room and microphone with the tier and with the eight scores, the largest of them, and the share of random
  exchanges of rooms and microphones between segments that give a larger one (p); and r of the stored loudness measures with
  the tier;
- r of each measure with its prediction by ridge regression from the mean and sd of an encoder's frames, pieces held out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.evaluation.linear_probe import out_of_fold
from keybed.heads.ridge import frame_block
from keybed.store.errors import KeybedError
from keybed.store.format.recipe import EncoderSpec
from keybed.store.format.rows import Rows
from keybed.store.format.vocabulary import DIMENSIONS, MICROPHONE, SPLITS, TIERS, WAVEFORM_MEASURES
from keybed.store.read.opening import open_store
from keybed.store.read.store import Store

Floats = NDArray[np.float64]
DECAY = "decay_s"
MEASURES = (DECAY, *MICROPHONE)
EXCHANGES = 1000


class NoRooms(KeybedError):
    """The store was planned without --rooms."""


def measures(store: Store, rows: Rows) -> tuple[NDArray[np.int64], Floats]:
    """Number of each row's room, and (row, measure): the room's decay time, then its microphone's four values.

    Raises NoRooms, and ValueError where the rows of a segment differ.
    """
    if "rooms" not in store.recipe.audio:
        raise NoRooms(f"{store.path} has no rooms; plan a store with --rooms N")
    room = store.read("row/room", rows.index).astype(np.int64)
    decay = np.asarray(store.recipe.audio["rooms"]["rt60_s"], np.float64)[room]
    of_row = np.column_stack([decay, store.read("row/microphone", rows.index).astype(np.float64)])
    _, first, segment = np.unique(rows.segment, return_index=True, return_inverse=True)
    if not (np.array_equal(of_row, of_row[first][segment]) and np.array_equal(room, room[first][segment])):
        raise ValueError("rows of one segment differ in room or microphone")
    return room, of_row


def counts(room: NDArray[np.int64], rows: Rows) -> dict[int, tuple[list[int], list[int]]]:
    """Room -> rows by tier, rows by split."""
    return {
        int(n): (
            np.bincount(rows.tier[room == n], minlength=len(TIERS)).tolist(),
            np.bincount(rows.split[room == n], minlength=len(SPLITS)).tolist(),
        )
        for n in np.unique(room)
    }


def correlations(of_row: Floats, rows: Rows) -> Floats:
    """r (measure, tier and scores) over the rows in which a score is valid."""
    targets = np.column_stack([rows.tier.astype(np.float64), rows.score.astype(np.float64)])
    valid = np.column_stack([np.ones(len(rows), bool), rows.valid])
    return np.array([[_r(m[ok], t[ok]) for t, ok in zip(targets.T, valid.T, strict=True)] for m in of_row.T])


def exchanged(of_row: Floats, rows: Rows, n: int = EXCHANGES, seed: int = 0) -> Floats:
    """The largest |r| (n,) after the segments exchanged their rooms and microphones at random."""
    random = np.random.default_rng(seed)
    _, first, segment = np.unique(rows.segment, return_index=True, return_inverse=True)
    of_segment = of_row[first]
    return np.array(
        [np.nanmax(np.abs(correlations(of_segment[random.permutation(len(first))][segment], rows))) for _ in range(n)]
    )


def heard(features: Floats, of_row: Floats, rows: Rows) -> list[float]:
    """r of each measure with its prediction from the features, each piece predicted by a ridge fitted without it."""
    return [_r(out_of_fold(features, y, rows.piece), y) for y in of_row.T]


def _r(x: Floats, y: Floats) -> float:
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def _frames(store: Store, rows: Rows, encoder: EncoderSpec) -> Floats:
    mask = store.read(f"{encoder.group}/mask", rows.index) if encoder.has_mask else None
    block = frame_block(encoder.name, store.read(f"{encoder.group}/frames", rows.index), mask)
    return block[encoder.name].reshape(len(rows), -1).astype(np.float64)


def main(path: Path) -> None:
    """Print the three tables."""
    store = open_store(path)
    rows = store.rows()
    room, of_row = measures(store, rows)
    print("room, decay: rows by tier, by split")
    for n, (tiers, splits) in counts(room, rows).items():
        print(f"{n:4d} {of_row[room == n][0, 0]:5.2f} s: {tiers}, {splits}")
    r = correlations(of_row, rows)
    print(f"\nr with {', '.join(('tier', *DIMENSIONS))}")
    for name, line in zip(MEASURES, r, strict=True):
        print(f"{name:14s} {' '.join(f'{value:6.3f}' for value in line)}")
    largest, others = np.nanmax(np.abs(r)), exchanged(of_row, rows)
    print(f"largest |r| {largest:.3f}; exchanged between segments: median {np.median(others):.3f}, 95 % of them below "
          f"{np.quantile(others, 0.95):.3f}; p {(1 + (others >= largest).sum()) / (1 + len(others)):.3f}")  # fmt: skip
    stored = store.read("row/waveform", rows.index).astype(np.float64)
    for name, line in zip(WAVEFORM_MEASURES, stored.T, strict=True):
        print(f"{name}: r with the tier {_r(line, rows.tier.astype(np.float64)):.3f}")
    print(f"\nheard by a ridge, pieces held out: r with {', '.join(MEASURES)}")
    for encoder in store.recipe.encoders:
        found = heard(_frames(store, rows, encoder), of_row, rows)
        print(f"{encoder.name:14s} {' '.join(f'{value:6.3f}' for value in found)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
