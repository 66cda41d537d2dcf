"""Group recordings of the same music into pieces, and give each piece one split.

MAESTRO's splits should share no piece, but titles are free text: one work has several spellings, and five titles stand
in more than one split as written. A title is read into paths such as ("op 142", "3") or ("op 53", "1"): work, then
number or movement. Titles with equal paths, or where one path begins the other (a sonata and its first movement), are
one piece. A piece goes to the split that holds most of its seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keybed.extract.corpus.metadata import Recording
from keybed.extract.corpus.titles import WorkPath, read_title
from keybed.store.format.vocabulary import SPLITS

SPLIT_REPAIR_VERSION = 1
"""Part of the recipe; raise it with every change that can move a recording to another piece or split."""


@dataclass(frozen=True)
class SplitRepair:
    """A piece that the CSV has in more than one split."""

    piece: str
    titles: tuple[str, ...]
    seconds: Mapping[str, float]
    """Seconds of the piece in each split, as the CSV has it."""
    split: str
    """The split that the whole piece goes to."""
    moved: tuple[int, ...]
    """Recordings whose split changes."""

    @property
    def as_written(self) -> bool:
        """Whether one and the same title stands in more than one split."""
        return len(self.titles) == 1

    def __str__(self) -> str:
        shares = ", ".join(f"{split} {self.seconds[split]:.0f} s" for split in SPLITS if split in self.seconds)
        more = f" | and {len(self.titles) - 4} more" if len(self.titles) > 4 else ""
        spelt = "" if self.as_written else f" (spelt {' | '.join(self.titles[:4])}{more})"
        return f"{self.piece}: {shares} -> {self.split}, {len(self.moved)} moved{spelt}"


@dataclass(frozen=True)
class Pieces:
    """Pieces and splits of a corpus. `piece_of` and `split_of` have one entry per recording."""

    names: tuple[str, ...]
    piece_of: tuple[int, ...]
    split_of: tuple[str, ...]
    repairs: tuple[SplitRepair, ...]
    vague: tuple[str, ...]
    """Titles that name no work ("Sonata in F"); they may be the same music as another title."""


def find_pieces(recordings: Sequence[Recording]) -> Pieces:
    """Group recordings into pieces and give every piece one split, from the CSV alone."""
    titles = [read_title(recording.composer, recording.title) for recording in recordings]
    group_of = _join([title.paths for title in titles])
    order = {group: piece for piece, group in enumerate(dict.fromkeys(group_of))}
    piece_of = tuple(order[group] for group in group_of)
    members: list[list[Recording]] = [[] for _ in order]
    for recording, piece in zip(recordings, piece_of, strict=True):
        members[piece].append(recording)
    names = tuple(_name(group) for group in members)
    splits = [_split(group) for group in members]
    repairs = [
        _repair(name, group, split)
        for name, group, split in zip(names, members, splits, strict=True)
        if any(recording.split != split for recording in group)
    ]
    vague = {f"{r.composer}: {r.title}" for r, title in zip(recordings, titles, strict=True) if title.vague}
    return Pieces(names, piece_of, tuple(splits[piece] for piece in piece_of), tuple(repairs), tuple(sorted(vague)))


def _join(paths_of: Sequence[frozenset[WorkPath]]) -> list[int]:
    """Group number of each title, by union-find: a title joins its paths, and a path joins its named prefixes."""
    parent: dict[WorkPath, WorkPath] = {path: path for paths in paths_of for path in paths}

    def root(path: WorkPath) -> WorkPath:
        while parent[path] != path:
            parent[path] = parent[parent[path]]
            path = parent[path]
        return path

    for paths in paths_of:
        first = min(paths)
        for path in paths:
            parent[root(path)] = root(first)
    for path in list(parent):
        for length in range(2, len(path)):  # path[0] is the composer
            if path[:length] in parent:
                parent[root(path)] = root(path[:length])
    number: dict[WorkPath, int] = {}
    return [number.setdefault(root(min(paths)), len(number)) for paths in paths_of]


def _name(group: Sequence[Recording]) -> str:
    counts = Counter(f"{recording.composer}: {recording.title}" for recording in group)
    return min(counts, key=lambda name: (-counts[name], len(name), name))


def _seconds(group: Sequence[Recording]) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for recording in group:
        seconds[recording.split] = seconds.get(recording.split, 0.0) + recording.duration_s
    return seconds


def _split(group: Sequence[Recording]) -> str:
    seconds = _seconds(group)
    return max(seconds, key=lambda split: (seconds[split], -SPLITS.index(split)))


def _repair(name: str, group: Sequence[Recording], split: str) -> SplitRepair:
    return SplitRepair(
        piece=name,
        titles=tuple(sorted({f"{recording.composer}: {recording.title}" for recording in group})),
        seconds=_seconds(group),
        split=split,
        moved=tuple(recording.index for recording in group if recording.split != split),
    )
