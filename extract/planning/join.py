"""`keybed join`: pieces and splits of several stores together, then one store of all their rows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keybed.extract.config import JoinConfig
from keybed.extract.corpus.metadata import Recording
from keybed.extract.corpus.pieces import Pieces, find_pieces
from keybed.extract.planning.row_plan import PlanError
from keybed.extract.progress import Progress, silent
from keybed.store import Store
from keybed.store import open as open_store
from keybed.store.check.leftovers import find_leftovers
from keybed.store.check.repair import repair
from keybed.store.command import command
from keybed.store.counted import counted
from keybed.store.write.create import refuse_foreign
from keybed.store.write.join import Joined, join_stores
from keybed.store.write.join_recipe import joined_recipe


@dataclass(frozen=True)
class JoinReport:
    """What was joined. moved: recordings whose split changed, because their piece stands in two stores."""

    out: Path
    joined: Joined
    pieces: Pieces
    n_recordings: int
    moved: tuple[str, ...]
    rows_of_split: Mapping[str, int]
    seconds: float
    recorded_folders: tuple[str, ...] = ()
    """Of stores with recorded audio whose corpora lie in different folders."""

    def lines(self) -> list[str]:
        """The report as lines of text."""
        splits = ", ".join(f"{name} {rows:,}" for name, rows in self.rows_of_split.items())
        lines = [
            f"{counted(self.joined.n_rows, 'row')} ({splits}) of {counted(self.n_recordings, 'recording')}, "
            f"{counted(len(self.pieces.names), 'piece')}",
            f"shards: {self.joined.n_shards}; {self.joined.n_linked} taken as they are, {self.joined.n_copied} put together "
            "from several",
        ]
        if self.moved:
            lines.append(f"recordings moved to the split that holds most of their piece's seconds: {len(self.moved)}")
            lines += [f"  {line}" for line in self.moved]
        if self.recorded_folders:
            lines.append(
                f"recorded audio: the sound files lie in {' and '.join(self.recorded_folders)}; `extend` and `verify --recompute` "
                "need one folder that holds them all, given with --maestro"
            )
        lines.append(f"joined in {self.seconds:,.0f} s: {self.out}")
        return [*lines, f"next: {command('verify', self.out)}"]


def join(config: JoinConfig, progress: Progress = silent) -> JoinReport:
    """Join the stores of `config`; run again, it goes on where it stopped, and removes what a killed join left half written.

    Raises PlanError for fewer than two stores and for windows that stand in two of them, and the errors of `join_stores`.
    """
    began = time.perf_counter()
    if len({path.resolve() for path in config.stores}) < 2 or len(set(config.stores)) < len(config.stores):
        example = command("join", "STORE_A", "STORE_B", "--out", "C")
        raise PlanError(f"join needs two or more different stores: `{example}`")
    refuse_foreign(config.out)
    stores = [open_store(path) for path in config.stores]
    joined_recipe(stores)  # before anything else, what cannot be joined at all
    recordings = [entry for store in stores for entry in store.recordings]
    _refuse_equal_windows(stores)
    pieces = _pieces(stores)
    entries, moved = [], []
    for number, (entry, piece, split) in enumerate(zip(recordings, pieces.piece_of, pieces.split_of, strict=True)):
        drawn_as = entry.get("drawn_as", entry["recording"])
        entries.append(
            {
                **entry,
                "recording": number,
                "drawn_as": drawn_as,
                "piece": piece,
                "piece_name": pieces.names[piece],
                "split": split,
            }
        )
        if entry["split"] != split and entry["used"]:
            moved.append(f"{entry['midi']}: {entry['split']} -> {split} ({pieces.names[piece]})")
    joined = join_stores(stores, config.out, entries, progress)
    made = open_store(config.out)
    if find_leftovers(made):  # of a join that was killed
        repair(made, (), ())
    folders = {store.machine_paths.get("maestro", "") for store in stores}
    recorded = made.recipe.audio.get("source") == "recorded" and len(folders) > 1
    return JoinReport(
        out=config.out,
        joined=joined,
        pieces=pieces,
        n_recordings=len(entries),
        moved=tuple(moved),
        rows_of_split={name: stop - start for name, (start, stop) in made.splits.items()},
        seconds=time.perf_counter() - began,
        recorded_folders=tuple(sorted(folders)) if recorded else (),
    )


def _pieces(stores: Sequence[Store]) -> Pieces:
    """Pieces and splits of all recordings, by the rules of `plan`; what is one piece in a store stays one."""
    recordings: list[Recording] = []
    together: list[tuple[int, int]] = []
    hashes: list[str | None] = []
    for number, store in enumerate(stores):
        for entry in store.recordings:
            recordings.append(_recording(entry, len(recordings)))
            together.append((number, int(entry["piece"])))
            sha256 = entry["midi_sha256"]
            hashes.append(sha256 if entry["used"] and not entry["midi_problem"] else None)
    return find_pieces(recordings, hashes, together=together)


def _recording(entry: Mapping[str, Any], index: int) -> Recording:
    return Recording(
        index=index,
        composer=entry["composer"],
        title=entry["title"],
        split=entry["split"],
        year=entry["year"],
        midi=entry["midi"],
        audio=entry["audio"],
        duration_s=entry["duration_s"],
        piece=entry.get("named_piece", ""),
    )


def _refuse_equal_windows(stores: Sequence[Store]) -> None:
    """Raise PlanError where two stores hold rows of one and the same window: equal MIDI bytes and equal start."""
    seen: dict[tuple[str, float], int] = {}
    for number, store in enumerate(stores):
        columns, entries = store.columns(0, store.n_rows), store.recordings
        windows = np.unique(np.column_stack([columns["recording"], columns["start_s"]]), axis=0)
        both = []
        for recording, start_s in windows.tolist():
            sha256 = entries[int(recording)]["midi_sha256"]
            if not sha256 or entries[int(recording)]["midi_problem"]:
                continue
            if seen.setdefault((sha256, start_s), number) != number:
                both.append((entries[int(recording)]["midi"], start_s, seen[sha256, start_s]))
        if both:
            midi, start_s, other = both[0]
            raise PlanError(
                f"{counted(len(both), 'window')} of {store.path} stand in {stores[other].path} as well, such as {midi} at "
                f"{start_s:g} s: the rows would count twice. Join stores of different recordings"
            )
