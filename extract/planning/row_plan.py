"""The settings of `keybed plan`, and what follows from them and the CSV: pieces, segments, rows, drawn levels."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from keybed.extract import degrade
from keybed.extract.config import PlanConfig
from keybed.extract.corpus.columns import pairs_of
from keybed.extract.corpus.draw_splits import SHARE
from keybed.extract.corpus.durations import with_durations
from keybed.extract.corpus.files import ABSENT, RecordingFiles, read_files
from keybed.extract.corpus.layouts import Reading, read_corpus
from keybed.extract.corpus.metadata import Corpus
from keybed.extract.corpus.pieces import Pieces, find_pieces
from keybed.extract.corpus.rated_passages import Rated, rated_passages
from keybed.extract.corpus.ratings import Ratings, read_ratings, scale_of
from keybed.extract.corpus.windows import n_windows
from keybed.extract.planning.segments import (
    RowOrder,
    Segments,
    all_segments,
    choose_segments,
    order_rows,
    rated_segments,
)
from keybed.extract.processes import process_pool
from keybed.extract.progress import Progress, silent
from keybed.store.counted import counted
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import LEVELS, TIERS

LEAST_WINDOW_S = 1.0
"""Shortest window that can be planned."""
LEAST_BIN_S = 0.1
"""Shortest time bin; it still holds several frames of every audio encoder."""


class PlanError(KeybedError):
    """This corpus and these settings cannot be planned; the message says why."""


@dataclass(frozen=True, eq=False)
class RowPlan:
    """What follows from the settings, the CSV and equal files. used: ids of the recordings that have rows.

    files: of every recording of the corpus; empty where the CSV alone was read.
    """

    corpus: Corpus
    files: tuple[RecordingFiles, ...]
    pieces: Pieces
    segments: Segments
    order: RowOrder
    too_short: tuple[str, ...]
    used: tuple[int, ...]
    ratings: Ratings | None = None
    rated: Rated | None = None
    """Ratings by people and the passages that have them; None where degradation gives the labels."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """How the corpus was read, and the splits that were drawn."""
        ratings = self.ratings.remarks if self.ratings else ()
        rated = self.rated.remarks if self.rated else ()
        if not self.pieces.n_drawn:
            return (*self.corpus.remarks, *ratings, *rated)
        drawn = (
            f"splits drawn with the seed for {counted(self.pieces.n_drawn, 'piece')} without one: validation and test get "
            f"{SHARE:.0%} of the seconds each"
        )
        return (*self.corpus.remarks, drawn, *ratings, *rated)


def plan_rows(config: PlanConfig, progress: Progress = silent) -> RowPlan:
    """Hash the corpus's files, find pieces, cut segments and order the rows. Raises PlanError and CorpusError."""
    if config.profile not in degrade.PROFILES:
        raise PlanError(f"profile {config.profile!r}: choose one of {', '.join(degrade.PROFILES)}")
    if config.limit is not None and config.limit < 1:
        raise PlanError(f"--limit {config.limit}: at least one segment is needed")
    if config.shard_rows is not None and (config.shard_rows < 4 or config.shard_rows % len(TIERS)):
        raise PlanError(
            f"--shard-rows {config.shard_rows}: must be a multiple of {len(TIERS)}, because a shard holds whole segments"
        )
    _check_windows(config)
    ratings = _ratings(config)
    corpus = read_corpus(
        config.maestro, Reading(config.layout, pairs_of(config.columns or ()), config.pieces, config.labels)
    )
    if not config.metadata_only:
        corpus = with_durations(corpus, config.jobs or len(os.sched_getaffinity(0)), progress)
    elif any(recording.duration_s is None for recording in corpus.recordings):
        raise PlanError(
            f"--metadata-only reads no MIDI, and {corpus.listed_in} gives no duration of some recordings; leave it out, or "
            "name the column with --columns duration=COLUMN"
        )
    files: tuple[RecordingFiles, ...] = ()
    if not config.metadata_only:
        files = read_files(corpus, recorded=config.audio == "recorded", progress=progress)
    pieces = find_pieces(
        corpus.recordings,
        [None if f.midi_sha256 == ABSENT else f.midi_sha256 for f in files],
        seed=config.seed,
    )
    rated = None if ratings is None else rated_passages(corpus, ratings)
    if rated is None:
        every = all_segments(corpus.recordings, pieces, config.window_s, config.hop_s)
    else:
        every = rated_segments(corpus.recordings, pieces, rated.passages, config.window_s, config.hop_s)
    if not len(every):
        first = f"; the first that cannot be read: {corpus.unreadable[0]}" if corpus.unreadable else ""
        raise PlanError(f"{corpus.listed_in}: no recording is as long as a window of {config.window_s:g} s{first}")
    segments = choose_segments(every, config.limit, config.seed)
    too_short = tuple(
        f"{recording.midi}: {recording.duration_s:.1f} s"
        for recording in corpus.recordings
        if rated is None
        and recording.duration_s is not None
        and n_windows(recording.seconds, config.window_s, config.hop_s) == 0
    )
    used = tuple(int(index) for index in np.unique(segments.recording))
    order = order_rows(segments, config.seed, TIERS if rated is None else TIERS[:1])
    return RowPlan(corpus, files, pieces, segments, order, too_short, used, ratings, rated)


def _ratings(config: PlanConfig) -> Ratings | None:
    if config.labels is None:
        if config.labels_columns or config.label_scale:
            raise PlanError("--labels-columns and --label-scale belong to --labels FILE")
        return None
    return read_ratings(
        config.labels, pairs_of(config.labels_columns or (), "--labels-columns"), scale_of(config.label_scale)
    )


def rating_columns(row_plan: RowPlan) -> dict[str, NDArray]:
    """The planned columns of ratings: mean, standard deviation and number of each row's; empty without ratings."""
    if row_plan.ratings is None or row_plan.rated is None:
        return {}
    passages = [one.passage for one in row_plan.rated.passages]
    of_row = row_plan.order.passage
    return {
        "rating": np.array([passage.mean for passage in passages], np.float32)[of_row],
        "rating_sd": np.array([passage.sd for passage in passages], np.float32)[of_row],
        "n_ratings": np.array([passage.n for passage in passages], np.int32)[of_row],
    }


def _check_windows(config: PlanConfig) -> None:
    if not (math.isfinite(config.window_s) and config.window_s >= LEAST_WINDOW_S):
        raise PlanError(f"--window {config.window_s:g}: must be a number of seconds, at least {LEAST_WINDOW_S:g}")
    if not (math.isfinite(config.hop_s) and config.hop_s > 0):
        raise PlanError(f"--hop {config.hop_s:g}: must be a number of seconds above 0")
    if not 1 <= config.n_bins <= config.window_s / LEAST_BIN_S:
        raise PlanError(
            f"--bins {config.n_bins}: must be from 1 to {math.floor(config.window_s / LEAST_BIN_S)}, "
            f"so that a bin of a window of {config.window_s:g} s lasts at least {LEAST_BIN_S:g} s"
        )


def draw_all_levels(config: PlanConfig, order: RowOrder, progress: Progress) -> NDArray[np.float32]:
    """Drawn levels of all rows, float32 (rows, 8); many rows are drawn in worker processes."""
    columns = order.columns
    n_rows = columns["tier"].size
    starts = range(0, n_rows, 4096)
    blocks = [
        tuple(columns[name][start : start + 4096] for name in ("recording", "start_s", "tier")) for start in starts
    ]
    draw = partial(_draw_block, config.seed, config.profile)
    levels = np.empty((n_rows, len(LEVELS)), np.float32)
    jobs = config.jobs or len(os.sched_getaffinity(0))
    if jobs <= 1 or len(blocks) < 4:
        for start, block in zip(starts, blocks, strict=True):
            levels[start : start + 4096] = draw(block)
            progress("drawing tiers and levels", min(start + 4096, n_rows), n_rows)
        return levels
    with process_pool(jobs, task="draws levels", advice="give more memory or fewer --jobs") as pool:
        for start, drawn in zip(starts, pool.map(draw, blocks), strict=True):
            levels[start : start + 4096] = drawn
            progress("drawing tiers and levels", min(start + 4096, n_rows), n_rows)
    return levels


def _draw_block(seed: int, profile: str, block: tuple[NDArray, ...]) -> NDArray[np.float32]:
    rows = zip(*(column.tolist() for column in block), strict=True)
    return np.stack([degrade.draw_levels(seed, recording, start_s, tier, profile) for recording, start_s, tier in rows])
