"""`keybed expect`: fit the models of `expected` to a store's undegraded training rows, each group of pieces left out once."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed import store as stores
from keybed.extract.config import ExpectConfig
from keybed.extract.encoders import blas
from keybed.extract.encoders.expected.fit import HeldOut, NotEnoughPlaying, Playing, fit, held_out, library_versions
from keybed.extract.encoders.expected.models import ExpectedModels
from keybed.extract.music.performance import Performance
from keybed.extract.progress import Progress, silent
from keybed.extract.run.check_recipe import check_same_code, check_same_midi_reading, notes_config
from keybed.extract.run.row_maker import RowMaker, segment_jobs
from keybed.store import Store
from keybed.store.command import command
from keybed.store.counted import counted
from keybed.store.disk.durable import disk_error, write_durably
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import TIERS, Status

_PRISTINE = TIERS.index("pristine")
_NOTES, _FIT = "reading undegraded windows", "fitting models"


class FileExists(KeybedError):
    """The file to write is there already."""


@dataclass(frozen=True)
class ExpectReport:
    """What was fitted. held_out: how well each group's windows are predicted by the model of the others."""

    store: Path
    out: Path
    windows: int
    pieces: int
    notes: int
    groups: int
    held_out: HeldOut
    seconds: float

    def lines(self) -> list[str]:
        """The report as lines of text."""
        quality = self.held_out
        return [
            f"fitted to {counted(self.windows, 'undegraded window')} ({counted(self.notes, 'note')}) of "
            f"{counted(self.pieces, 'training piece')}, in {counted(self.groups, 'group')}",
            f"windows of pieces left out: the models explain {quality.length_r2:.0%} of the variance of the notes' lengths "
            f"(log2) and {quality.velocity_r2:.0%} of that of their velocities",
            f"a step of 20 ms of the pedal surprises by {quality.pedal_bits:.3f} bits; without looking at the notes "
            f"{quality.pedal_bits_blind:.3f}",
            f"made in {self.seconds:,.0f} s: {self.out}",
            f"next: {command('extend', self.store, '--encoders', 'expected', '--expected-weights', self.out)}",
        ]


def expect(config: ExpectConfig, progress: Progress = silent) -> ExpectReport:
    """Fit the models and write their file.

    Raises FileExists, NotAsPlanned where this version of Keybed makes other rows, NotEnoughPlaying, and errors of the store.
    """
    began = time.perf_counter()
    if config.out.exists():
        raise FileExists(
            f"{config.out} exists; stores may have been made with it: give another name, or remove it first"
        )
    store = stores.open(config.store)
    check_same_midi_reading(store.recipe)
    check_same_code(store.recipe)
    rows, piece = drawn_windows(store, config.windows, config.seed)
    pieces, group_of = groups_of(piece, config.groups)
    window_s = float(store.recipe.segments["window_s"])
    with blas.one_thread():
        performances, kept = _performances(store, rows, progress)
        piece, group = piece[kept], group_of[piece[kept]]
        playing = Playing.of(performances, window_s, config.seed)
        models = []
        for number in range(config.groups + 1):
            progress(_FIT, number, config.groups + 1)
            models.append(fit(playing, group != number, config.seed))  # the last one leaves out nothing
        progress(_FIT, config.groups + 1, config.groups + 1)
        quality = held_out(playing, models[:-1], group)
    entries = [entry for entry in store.recordings if int(entry["piece"]) in pieces]
    fitted_to: Mapping[str, Any] = {
        "windows": len(performances),
        "pieces": len(pieces),
        "notes": int(playing.notes.time_s.size),
        "window_s": window_s,
        "seed": config.seed,
        "rows_of": store.recipe.rows_fingerprint,
        "held_out": {name: round(value, 4) for name, value in asdict(quality).items()},
        "libraries": library_versions(),
    }
    made = ExpectedModels(
        of_all=models[-1],
        of_others=tuple(models[:-1]),
        group_of_midi={e["midi_sha256"]: int(group_of[e["piece"]]) for e in entries if e["midi_sha256"]},
        group_of_piece={e["piece_name"]: int(group_of[e["piece"]]) for e in entries},
        fitted_to=fitted_to,
    )
    _write(made, config.out)
    return ExpectReport(
        store=config.store,
        out=config.out,
        windows=len(performances),
        pieces=len(pieces),
        notes=int(playing.notes.time_s.size),
        groups=config.groups,
        held_out=quality,
        seconds=time.perf_counter() - began,
    )


def drawn_windows(store: Store, most: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers of at most so many undegraded training rows, as even over the pieces as their numbers allow, and their pieces."""
    start, stop = store.splits["train"]
    columns = store.columns(start, stop)
    pristine = np.flatnonzero(columns["tier"] == _PRISTINE)
    piece = columns["piece"][pristine].astype(np.int64)
    shuffled = np.random.default_rng(seed).permutation(pristine.size)
    turn = np.empty(pristine.size, np.int64)  # how many rows of its piece come before a row
    for one in np.unique(piece):
        own = shuffled[piece[shuffled] == one]
        turn[own] = np.arange(own.size)
    kept = np.sort(np.lexsort((shuffled.argsort(), turn))[:most])
    return start + pristine[kept], piece[kept]


def groups_of(piece: NDArray[np.int64], groups: int) -> tuple[set[int], NDArray[np.int64]]:
    """The pieces, and the group of each piece by its number; the pieces with most windows are dealt first.

    Raises NotEnoughPlaying where there are fewer pieces than groups.
    """
    pieces, sizes = np.unique(piece, return_counts=True)
    if pieces.size < groups:
        raise NotEnoughPlaying(
            f"{counted(int(pieces.size), 'training piece')} for {counted(groups, 'group')}; each group must leave out a piece: "
            "give fewer --groups, at least 2, or a store of more pieces"
        )
    group_of = np.full(int(pieces.max()) + 1, -1, np.int64)
    filled = np.zeros(groups, np.int64)
    for number in np.lexsort((pieces, -sizes)):
        least = int(filled.argmin())
        group_of[pieces[number]] = least
        filled[least] += sizes[number]
    return set(pieces.tolist()), group_of


def _performances(
    store: Store, rows: NDArray[np.int64], progress: Progress
) -> tuple[list[Performance], NDArray[np.intp]]:
    """The notes of these rows, and which of them have any."""
    maker = RowMaker(notes_config(store))
    start, stop = store.splits["train"]
    columns = {name: column[rows - start] for name, column in store.columns(start, stop).items()}
    made: list[Performance] = []
    kept: list[int] = []
    jobs = segment_jobs(columns)
    for number, job in enumerate(jobs):
        (variant,) = maker.variants(job)
        if variant.status == Status.OK:
            made.append(variant.performance)
            kept.append(number)
        progress(_NOTES, number + 1, len(jobs))
    if not made:
        raise NotEnoughPlaying(f"{store.path}: none of its undegraded training rows has notes")
    return made, np.array(kept)


def _write(models: ExpectedModels, out: Path) -> None:
    """Write the whole file or none. Raises NoDiskSpace, and the error of a folder that cannot be written."""
    made = io.BytesIO()
    models.save(made)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_durably(out, made.getvalue())
    except OSError as error:
        raise disk_error(error, out) from error
