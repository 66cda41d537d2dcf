"""The report that `keybed plan` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keybed.extract.corpus.pieces import Pieces
from keybed.extract.planning.estimate import Estimate
from keybed.store.command import command
from keybed.store.counted import counted


@dataclass(frozen=True)
class PlanReport:
    """What was planned, as fields and as text (`lines`)."""

    store: Path
    created: bool
    n_recordings: int
    n_recordings_used: int
    n_segments: int
    n_rows: int
    rows_of_split: Mapping[str, int]
    remarks: tuple[str, ...]
    """How the corpus was read, where something was mapped, guessed or drawn."""
    left_out: tuple[str, ...]
    """Files and lines that belong to no recording."""
    unreadable: tuple[str, ...]
    """Recordings of unknown duration whose MIDI cannot be read; they have no rows."""
    pieces: Pieces
    too_short: tuple[str, ...]
    """Recordings shorter than a window; they have no rows."""
    problems: tuple[str, ...]
    """Recordings whose files are absent, damaged, or disagree with the CSV."""
    random_weights: tuple[str, ...]
    slow_arithmetic: tuple[str, ...]
    """Pretrained encoders that will compute in float32."""
    weights_remarks: tuple[str, ...]
    """What was seen in each checkpoint, and the measured errors of bfloat16."""
    estimate: Estimate
    disk_space_problem: str | None = None
    """Message of a dry run about a disk that is too small; `plan` raises it as NoDiskSpace."""

    def lines(self) -> list[str]:
        """The report as lines of text."""
        splits = ", ".join(f"{name} {rows:,}" for name, rows in self.rows_of_split.items())
        used = "" if self.n_recordings_used == self.n_recordings else f" ({self.n_recordings_used:,} of them used)"
        lines = [
            *self.remarks,
            f"{counted(self.n_recordings, 'recording')}{used}, {counted(len(self.pieces.names), 'piece')}, "
            f"{counted(self.n_segments, 'segment')}, {counted(self.n_rows, 'row')} ({splits})",
            *_listed("files and lines that could not be mapped to a recording", self.left_out),
            *_listed("MIDI files that cannot be read, left out", self.unreadable),
            *_listed("pieces with recordings in another split of the CSV, moved to one split", self.pieces.repairs),
            *_listed("titles that name no work", self.pieces.vague),
            *_listed("MIDI files of equal bytes, joined into one piece", self.pieces.equal_files),
            *_listed("recordings shorter than a window, left out", self.too_short),
            *_listed("recordings with problems; rows of unreadable ones are kept and marked as failed", self.problems),
            *self.estimate.lines(),
        ]
        if self.disk_space_problem:
            lines.append(f"NOT ENOUGH DISK SPACE: {self.disk_space_problem}")
        if self.slow_arithmetic:
            lines.append(
                f"arithmetic: float32 for {', '.join(self.slow_arithmetic)}; `--dtype bfloat16` is faster on GPUs since Ampere "
                "and on processors with avx512_bf16 or AMX, at an error of about 1 % of a row's features (2 % of muq's frames); "
                "`keybed plan` measures it where it is asked for"
            )
        lines += self.weights_remarks
        if self.random_weights:
            lines.append(
                f"RANDOM WEIGHTS: {', '.join(self.random_weights)} have seeded random weights; their features describe no music"
            )
        if not self.created:
            return [*lines, "dry run: nothing was written"]
        tasks = self.estimate.tasks
        array = f"{command('extract', self.store, '--task', 'I', '--tasks', tasks)}, I from 0 to {tasks - 1}"
        alone = f"next: {command('extract', self.store)}"
        return [*lines, f"planned: {self.store}", f"{alone}   (or as an array: {array})" if tasks > 1 else alone]


def _listed(heading: str, entries: Any) -> list[str]:
    return [f"{heading}: {len(entries)}", *(f"  {entry}" for entry in entries)] if entries else []
