"""Group recordings of the same music into pieces, and give each piece one split.

MAESTRO's splits should share no piece, but titles are free text: one work has several spellings, and five titles stand
in more than one split as written. A title is read into paths such as ("op 142", "3") or ("op 53", "1"): work, then
number or movement. One piece are titles with equal paths, titles where one path begins the other (a sonata and its first
movement), and recordings whose MIDI files have equal bytes. A vague title joins every piece that it may name; one that may
name more than MOST_JOINED pieces is kept out of validation and test. A piece goes to the split that holds most of its seconds.
Where the corpus itself says which recordings are one piece, titles are not read. Pieces without a split get one by lot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from keybed.extract.corpus.draw_splits import draw_splits
from keybed.extract.corpus.metadata import Recording
from keybed.extract.corpus.titles import Title, WorkPath, read_title
from keybed.extract.corpus.vague_titles import MOST_JOINED, describe_title, may_name
from keybed.store.counted import counted
from keybed.store.format.vocabulary import SPLITS

SPLIT_REPAIR_VERSION = 2
"""Part of the recipe; raise it with every change that can move a recording to another piece or split."""
KEPT_IN_SPLIT = "train"
_NAMED_PIECE = "named piece"
"""In place of the composer in the path of a piece that the corpus itself names."""


@dataclass(frozen=True)
class SplitRepair:
    """A piece of which the CSV has recordings in another split than the one that the piece goes to."""

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
class VagueTitle:
    """A title that names no work, and what was done with it. may_name: the pieces that it may be, by name."""

    title: str
    n_recordings: int
    may_name: tuple[str, ...]

    @property
    def joined(self) -> bool:
        """Whether its recordings and all pieces that it may name are one piece; otherwise it is kept in KEPT_IN_SPLIT."""
        return 0 < len(self.may_name) <= MOST_JOINED

    def __str__(self) -> str:
        who = f"{self.title} ({counted(self.n_recordings, 'recording')})"
        if self.joined:
            return f"{who}: one piece with all that it may name: {' | '.join(self.may_name)}"
        if self.may_name:
            who_else = counted(len(self.may_name), "piece")
            return f"{who}: may name any of {who_else}; joined with none, kept in {KEPT_IN_SPLIT}"
        return f"{who}: no other title may name the same music"


@dataclass(frozen=True)
class Pieces:
    """Pieces and splits of a corpus. `piece_of` and `split_of` have one entry per recording."""

    names: tuple[str, ...]
    piece_of: tuple[int, ...]
    split_of: tuple[str, ...]
    repairs: tuple[SplitRepair, ...]
    vague: tuple[VagueTitle, ...]
    """Titles that name no work ("Sonata in F")."""
    equal_files: tuple[str, ...]
    """Recordings with one and the same MIDI content, one line per content."""
    n_drawn: int = 0
    """Pieces whose split was drawn, because none of their recordings has one."""


def find_pieces(
    recordings: Sequence[Recording],
    midi_sha256: Sequence[str | None] = (),
    *,
    seed: int = 0,
    together: Sequence[Hashable] = (),
) -> Pieces:
    """Group recordings into pieces and give every piece one split.

    midi_sha256: of each recording's MIDI file, None where it cannot be read; empty where the CSV alone is known.
    seed: of the splits of pieces that have none. together: recordings with equal values are one piece, whatever their titles.
    """
    titles = [_title(recording) for recording in recordings]
    same_bytes = _same_bytes(midi_sha256)
    groups = _Groups(_join([title.paths for title in titles]))
    for copies in (*same_bytes, *_equal(together)):
        groups.join(copies)
    vague, kept_out = _place_vague_titles(recordings, [title.vague for title in titles], groups)
    group_of = groups.numbers()
    order = {group: piece for piece, group in enumerate(dict.fromkeys(group_of))}
    piece_of = tuple(order[group] for group in group_of)
    members: list[list[Recording]] = [[] for _ in order]
    for recording, piece in zip(recordings, piece_of, strict=True):
        members[piece].append(recording)
    kept_pieces = {piece_of[index] for index in kept_out}
    names = tuple(_name(group) for group in members)
    given = [KEPT_IN_SPLIT if piece in kept_pieces else _split(group) for piece, group in enumerate(members)]
    splits = _with_drawn(given, names, members, seed)
    repairs = [
        _repair(name, group, split)
        for name, group, split in zip(names, members, splits, strict=True)
        if any(recording.split not in ("", split) for recording in group)
    ]
    return Pieces(
        names=names,
        piece_of=piece_of,
        split_of=tuple(splits[piece] for piece in piece_of),
        repairs=tuple(repairs),
        vague=tuple(vague),
        equal_files=tuple(_equal_files([recordings[index] for index in copies]) for copies in same_bytes),
        n_drawn=given.count(""),
    )


def _title(recording: Recording) -> Title:
    if recording.piece:
        return Title(frozenset({(_NAMED_PIECE, recording.piece)}))
    return read_title(recording.composer, recording.title)


def _with_drawn(
    given: Sequence[str], names: Sequence[str], members: Sequence[Sequence[Recording]], seed: int
) -> list[str]:
    without = [piece for piece, split in enumerate(given) if not split]
    seconds = [sum(recording.seconds for recording in members[piece]) for piece in without]
    drawn = dict(zip(without, draw_splits([names[piece] for piece in without], seconds, seed), strict=True))
    return [split or drawn[piece] for piece, split in enumerate(given)]


class _Groups:
    """Groups of recordings that can be joined."""

    def __init__(self, group_of: Sequence[int]) -> None:
        self._group_of = list(group_of)
        self._parent = list(range(max(group_of, default=-1) + 1))

    def of(self, recording: int) -> int:
        """The group of a recording; equal numbers are one group."""
        return self._root(self._group_of[recording])

    def join(self, recordings: Sequence[int]) -> None:
        """Make one group of the groups of these recordings."""
        for recording in recordings[1:]:
            self._parent[self.of(recording)] = self.of(recordings[0])

    def numbers(self) -> list[int]:
        """The group of each recording."""
        return [self._root(group) for group in self._group_of]

    def _root(self, group: int) -> int:
        while self._parent[group] != group:
            group = self._parent[group]
        return group


def _same_bytes(midi_sha256: Sequence[str | None]) -> list[list[int]]:
    """Recordings with equal MIDI bytes, two or more in each list."""
    return _equal(midi_sha256)


def _equal(values: Sequence[Hashable]) -> list[list[int]]:
    """Indices with equal values that are not None, two or more in each list."""
    members: dict[Hashable, list[int]] = {}
    for index, value in enumerate(values):
        if value is not None:
            members.setdefault(value, []).append(index)
    return [indices for indices in members.values() if len(indices) > 1]


def _place_vague_titles(
    recordings: Sequence[Recording], is_vague: Sequence[bool], groups: _Groups
) -> tuple[list[VagueTitle], list[int]]:
    """Join each vague title with what it may name. Returns the titles, and the recordings kept out of validation and test."""
    descriptions = [describe_title(recording.composer, recording.title) for recording in recordings]
    members: dict[int, list[int]] = {}
    for index, group in enumerate(groups.numbers()):
        members.setdefault(group, []).append(index)
    pieces = {
        group: list(dict.fromkeys(descriptions[index] for index in group_of)) for group, group_of in members.items()
    }
    recordings_of: dict[str, list[int]] = {}
    for index, recording in enumerate(recordings):
        if is_vague[index]:
            recordings_of.setdefault(_full_title(recording), []).append(index)
    candidates = {
        title: [
            group
            for group, piece in pieces.items()
            if group != groups.of(own[0]) and may_name(descriptions[own[0]], piece)
        ]
        for title, own in recordings_of.items()
    }
    too_vague = {title for title, named in candidates.items() if len(named) > MOST_JOINED}
    unnamed = {groups.of(recordings_of[title][0]) for title in too_vague}
    placed, kept_out = [], []
    joins: list[list[int]] = []
    for title, own in sorted(recordings_of.items()):
        if title not in too_vague:
            candidates[title] = [group for group in candidates[title] if group not in unnamed]
            joins += [[own[0], members[group][0]] for group in candidates[title]]
        else:
            kept_out += own
        names = sorted(_name([recordings[index] for index in members[group]]) for group in candidates[title])
        placed.append(VagueTitle(title, len(own), tuple(names)))
    for pair in joins:
        groups.join(pair)
    return placed, kept_out


def _full_title(recording: Recording) -> str:
    return recording.piece or recording.full_title


def _equal_files(copies: Sequence[Recording]) -> str:
    files = " = ".join(recording.midi for recording in copies)
    return f"{files} ({' | '.join(dict.fromkeys(_full_title(recording) for recording in copies))})"


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
    counts = Counter(_full_title(recording) for recording in group)
    return min(counts, key=lambda name: (-counts[name], len(name), name))


def _seconds(group: Sequence[Recording]) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for recording in group:
        if recording.split:
            seconds[recording.split] = seconds.get(recording.split, 0.0) + recording.seconds
    return seconds


def _split(group: Sequence[Recording]) -> str:
    """The split that holds most seconds of the group; "" where no recording has one."""
    seconds = _seconds(group)
    return max(seconds, key=lambda split: (seconds[split], -SPLITS.index(split)), default="")


def _repair(name: str, group: Sequence[Recording], split: str) -> SplitRepair:
    return SplitRepair(
        piece=name,
        titles=tuple(sorted({_full_title(recording) for recording in group})),
        seconds=_seconds(group),
        split=split,
        moved=tuple(recording.index for recording in group if recording.split not in ("", split)),
    )
