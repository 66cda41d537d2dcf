"""Segments of all recordings, the choice of a limited number of them, and the order of the store's rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from keybed.extract.config import HOP_S, WINDOW_S
from keybed.extract.corpus.metadata import Recording
from keybed.extract.corpus.pieces import Pieces
from keybed.extract.corpus.rated_passages import RatedPassage, window_starts
from keybed.extract.corpus.windows import n_windows
from keybed.store.format.vocabulary import SPLITS, TIERS

LEAST_SHARE = 0.15
"""Validation and test each get at least this share of a limited number of segments, so that small runs can be evaluated."""
_ORDER, _CHOICE = 1, 2
"""Purposes of a random generator."""


@dataclass(frozen=True, eq=False)
class Segments:
    """Columns with one entry per segment. `segment` is its number among all segments of the corpus, without the limit."""

    recording: NDArray[np.int32]
    segment: NDArray[np.int32]
    piece: NDArray[np.int32]
    split: NDArray[np.uint8]
    start_s: NDArray[np.float64]
    passage: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    """Of a store of ratings: which rated passage it is cut from; empty in another store."""

    def __len__(self) -> int:
        return int(self.segment.size)

    def take(self, index: NDArray[np.intp]) -> Segments:
        """These segments, in this order."""
        return Segments(
            self.recording[index],
            self.segment[index],
            self.piece[index],
            self.split[index],
            self.start_s[index],
            self.passage[index] if self.passage.size else self.passage,
        )


def all_segments(
    recordings: Sequence[Recording], pieces: Pieces, window_s: float = WINDOW_S, hop_s: float = HOP_S
) -> Segments:
    """Every segment of every recording, in the order of the corpus; start_s = i × hop. Uses durations alone."""
    counts = np.array([n_windows(recording.seconds, window_s, hop_s) for recording in recordings], np.int64)
    split = np.array([SPLITS.index(name) for name in pieces.split_of], np.uint8)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    segment = np.arange(counts.sum())
    return Segments(
        recording=np.repeat(np.arange(len(recordings)), counts).astype(np.int32),
        segment=segment.astype(np.int32),
        piece=np.repeat(np.array(pieces.piece_of, np.int32), counts),
        split=np.repeat(split, counts),
        start_s=(segment - first) * hop_s,
    )


def rated_segments(
    recordings: Sequence[Recording],
    pieces: Pieces,
    rated: Sequence[RatedPassage],
    window_s: float = WINDOW_S,
    hop_s: float = HOP_S,
) -> Segments:
    """Every window of every rated passage, in the order of the ratings."""
    starts = [window_starts(recordings[one.recording], one.passage, window_s, hop_s) for one in rated]
    passage = np.repeat(np.arange(len(rated)), [len(of) for of in starts])
    recording = np.array([one.recording for one in rated], np.int32)[passage]
    return Segments(
        recording=recording,
        segment=np.arange(len(passage), dtype=np.int32),
        piece=np.array(pieces.piece_of, np.int32)[recording],
        split=np.array([SPLITS.index(name) for name in pieces.split_of], np.uint8)[recording],
        start_s=np.array([start for of in starts for start in of], np.float64),
        passage=passage.astype(np.int32),
    )


def choose_segments(segments: Segments, limit: int | None, seed: int) -> Segments:
    """At most `limit` segments, spread over splits, over the pieces of a split, and over the recordings of a piece.

    With the same seed, a larger limit keeps the segments of a smaller one, unless a split gets fewer segments.
    """
    if limit is None or limit >= len(segments):
        return segments
    quota = _quota(np.bincount(segments.split, minlength=len(SPLITS)), limit)
    selected = []
    for split, n_wanted in enumerate(quota):
        members = np.flatnonzero(segments.split == split)
        members = members[_generator(seed, _CHOICE, split).permutation(members.size)]
        # A piece gives one segment of each of its recordings in turn; every piece gives one before any gives its second.
        turn_in_recording = _rank_within(segments.recording[members])
        order = np.lexsort((turn_in_recording,))
        members, turn_in_recording = members[order], turn_in_recording[order]
        turn_in_piece = _rank_within(segments.piece[members])
        members = members[np.argsort(turn_in_piece, kind="stable")]
        selected.append(members[:n_wanted])
    return segments.take(np.sort(np.concatenate(selected)))


def _rank_within(group: NDArray[np.int32]) -> NDArray[np.int64]:
    """For each entry, the number of earlier entries with the same value."""
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(group[order]) != 0])
    rank = np.empty(group.size, np.int64)
    rank[order] = np.arange(group.size) - np.repeat(starts, np.diff(np.r_[starts, group.size]))
    return rank


def _quota(available: NDArray[np.int64], limit: int) -> list[int]:
    """Number of segments per split: proportional, at least LEAST_SHARE for validation and test, at most those available."""
    share = available / available.sum()
    share[1:] = np.where(available[1:] > 0, np.maximum(share[1:], LEAST_SHARE), 0.0)
    share[0] = max(0.0, 1.0 - share[1:].sum()) if available[0] else 0.0
    quota = np.minimum(np.floor(share / share.sum() * limit).astype(np.int64), available)
    while quota.sum() < limit:  # limit < available.sum(), so some split has more
        remaining = available - quota
        quota[int(np.argmax(np.where(remaining > 0, share - quota / limit, -np.inf)))] += 1
    return [int(n) for n in quota]


@dataclass(frozen=True, eq=False)
class RowOrder:
    """The rows in store order: planned columns (all but level_drawn), and the contiguous range (start, stop) of each split."""

    columns: dict[str, NDArray]
    split_ranges: dict[str, tuple[int, int]]
    passage: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    """As in `Segments`, of each row; empty where nothing is rated."""


def order_rows(segments: Segments, seed: int, tiers: Sequence[str] = TIERS) -> RowOrder:
    """Order the rows: train, validation, test; segments permuted within each split, the tiers of one together."""
    order = []
    ranges: dict[str, tuple[int, int]] = {}
    start = 0
    for split, name in enumerate(SPLITS):
        members = np.flatnonzero(segments.split == split)
        order.append(members[_generator(seed, _ORDER, split).permutation(members.size)])
        ranges[name] = (start, start + members.size * len(tiers))
        start = ranges[name][1]
    ordered = segments.take(np.concatenate(order))
    columns = {
        name: np.repeat(getattr(ordered, name), len(tiers))
        for name in ("recording", "segment", "piece", "split", "start_s")
    }
    columns["tier"] = np.tile(np.array([TIERS.index(tier) for tier in tiers], np.uint8), len(ordered))
    return RowOrder(columns, ranges, np.repeat(ordered.passage, len(tiers)))


def _generator(seed: int, purpose: int, split: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, purpose, split])))
