"""The corpus with variance as one archive: degraded MIDI, sound and labels, made anew from the plan, row by row.

The archive is streamed (memory does not grow with it) and reproducible: equal stores give equal bytes, because order, times and
owners inside are fixed.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
import os
import shutil
import tarfile
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from keybed import store as stores
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.export.readme import readme
from keybed.extract.music.midi_writer import midi_bytes
from keybed.extract.music.performance import Performance
from keybed.extract.progress import Progress, silent
from keybed.extract.run.check_recipe import check_same_code, render_config
from keybed.extract.run.row_maker import RenderedRow, SegmentJob, segment_jobs
from keybed.extract.run.row_pool import RowPool
from keybed.store import Store
from keybed.store.disk.durable import replace_file
from keybed.store.errors import KeybedError, NoDiskSpace
from keybed.store.format.vocabulary import COVARIATES, DIMENSIONS, LEVELS, SPLITS, TIERS, WAVEFORM_MEASURES, Status

FOLDER = "maestro_with_variance"
"""Everything in the archive lies in this folder."""
_ROW_BYTES = {"flac": 330_000, "wav": 500_000}
_AHEAD = 4
"""Segments in the making per worker: enough to keep them busy, few enough to keep memory flat."""


class ExportError(KeybedError):
    """An export that cannot be made as it was asked for."""


@dataclass(frozen=True)
class ExportConfig:
    """Everything that `keybed export` can be told."""

    store: Path
    out: Path
    limit: int | None = None
    """At most so many rows, whole segments taken evenly from the store's random order."""
    tiers: tuple[str, ...] | None = None
    audio_format: Literal["flac", "wav"] = "flac"
    workers: int | None = None
    """Processes that render; None: one a core, 0: none."""
    paths: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportReport:
    """What was written."""

    out: Path
    n_rows: int
    n_failed: int
    n_bytes: int
    sha256: str

    def lines(self) -> list[str]:
        """The report as a person reads it."""
        failed = f" ({self.n_failed} of them failed: labelled so, without files)" if self.n_failed else ""
        return [
            f"{self.n_rows:,} rows{failed}, {self.n_bytes / 1e6:,.1f} MB: {self.out}",
            f"sha256 {self.sha256}, also in {self.out.name}.sha256",
            f"next: tar xzf {self.out}   (then {FOLDER}/README.md)",
        ]


def export(config: ExportConfig, progress: Progress = silent) -> ExportReport:
    """Write the archive and, beside it, its checksum. Nothing of the store but its plan is read.

    Raises ExportError for unknown tiers or an existing file, NoDiskSpace, and NotAsPlanned where the soundfont is another.
    """
    store = stores.open(config.store)
    check_same_code(store.recipe)
    jobs = _jobs(store, config)
    n_rows = sum(len(job.tiers) for _, job in jobs)
    _check_out(config.out, n_rows, config.audio_format)
    rendering = render_config(store, {**store.machine_paths, **config.paths})
    workers = len(os.sched_getaffinity(0)) if config.workers is None else config.workers
    with replace_file(config.out) as raw, tempfile.TemporaryFile() as labels, RowPool(rendering, workers) as pool:
        n_failed = _write(raw, labels, store, jobs, pool, config, progress, n_rows, max(1, workers) * _AHEAD)
        raw.seek(0)
        digest = hashlib.file_digest(raw, "sha256").hexdigest()
    config.out.with_name(f"{config.out.name}.sha256").write_text(f"{digest}  {config.out.name}\n")
    return ExportReport(config.out, n_rows, n_failed, config.out.stat().st_size, digest)


def _jobs(store: Store, config: ExportConfig) -> list[tuple[int, SegmentJob]]:
    """(first row, job) of every segment that is wanted; first row is that of the segment in the store."""
    tiers = TIERS if config.tiers is None else config.tiers
    unknown = [tier for tier in tiers if tier not in TIERS]
    if unknown or not tiers:
        raise ExportError(f"tier {', '.join(unknown) or 'none'}: choose of {', '.join(TIERS)}")
    wanted = {TIERS.index(tier) for tier in tiers}
    jobs = []
    row = 0
    for job in segment_jobs(store.columns(0, store.n_rows)):
        kept = [place for place, tier in enumerate(job.tiers) if tier in wanted]
        chosen = replace(job, tiers=tuple(job.tiers[place] for place in kept), level_drawn=job.level_drawn[kept])
        jobs.append((row, chosen))
        row += len(job.tiers)
    if config.limit is None or config.limit >= len(jobs) * len(wanted):
        return jobs
    n_segments = math.ceil(config.limit / len(wanted))
    even = [jobs[i * len(jobs) // n_segments] for i in range(n_segments)]
    over = n_segments * len(wanted) - config.limit
    if over:
        row, last = even[-1]
        even[-1] = (row, replace(last, tiers=last.tiers[:-over], level_drawn=last.level_drawn[:-over]))
    return even


def _check_out(out: Path, n_rows: int, audio_format: str) -> None:
    if out.exists():
        raise ExportError(f"{out} exists; remove it, or give the archive another name")
    if not out.parent.is_dir():
        raise ExportError(f"{out.parent}: no such folder")
    free, needed = shutil.disk_usage(out.parent).free, n_rows * _ROW_BYTES[audio_format]
    if free < needed:
        raise NoDiskSpace(f"{out.parent}: {free / 1e9:.1f} GB free, {n_rows:,} rows may need {needed / 1e9:.1f} GB")


def _write(
    raw: IO[bytes],
    labels: IO[bytes],
    store: Store,
    jobs: Sequence[tuple[int, SegmentJob]],
    pool: RowPool,
    config: ExportConfig,
    progress: Progress,
    n_rows: int,
    ahead: int,
) -> int:
    """The whole archive into `raw`; returns the number of failed rows."""
    recordings = store.recordings
    segments = store.columns(0, store.n_rows)["segment"]
    n_failed = done = 0
    with (
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.USTAR_FORMAT) as tar,
    ):
        archive = _Archive(tar)
        archive.add("README.md", readme(store.recipe, config.audio_format).encode())
        archive.add("recipe.json", json.dumps(store.recipe.to_json(), indent=1, sort_keys=True).encode())
        for first_row, job, rows in _in_order(pool, jobs, ahead):
            entry = recordings[job.recording]
            for tier, drawn, made in zip(job.tiers, job.level_drawn, rows, strict=True):
                label = _label(entry, job, int(segments[first_row]), tier, drawn, made, store)
                if made.status == Status.OK:
                    assert made.performance is not None
                    assert made.audio is not None
                    stem = f"{entry['split']}/{label['segment']:06d}_{TIERS[tier]}"
                    label["midi"], label["audio"] = f"midi/{stem}.mid", f"audio/{stem}.{config.audio_format}"
                    archive.add(label["midi"], midi_bytes(from_window_start(made.performance)))
                    archive.add(label["audio"], _sound(made.audio, config.audio_format))
                else:
                    n_failed += 1
                labels.write(json.dumps(label, ensure_ascii=False, allow_nan=False).encode() + b"\n")
                done += 1
            progress("exporting rows", done, n_rows)
        archive.add_file("labels.jsonl", labels)
        archive.add("SHA256SUMS", "".join(archive.sums).encode())
    return n_failed


def _in_order(
    pool: RowPool, jobs: Sequence[tuple[int, SegmentJob]], ahead: int
) -> Iterator[tuple[int, SegmentJob, list[RenderedRow]]]:
    waiting: deque[tuple[int, SegmentJob, Future[list[RenderedRow]]]] = deque()
    for row, job in jobs:
        waiting.append((row, job, pool.submit(job)))
        if len(waiting) > ahead:
            first, made, future = waiting.popleft()
            yield first, made, future.result()
    while waiting:
        first, made, future = waiting.popleft()
        yield first, made, future.result()


class _Archive:
    """A tar whose members have one owner and one time, and a running list of checksums."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.sums: list[str] = []

    def add(self, name: str, data: bytes) -> None:
        self._put(name, io.BytesIO(data), len(data), hashlib.sha256(data).hexdigest())

    def add_file(self, name: str, file: IO[bytes]) -> None:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        file.seek(0)
        self._put(name, file, size, digest)

    def _put(self, name: str, file: IO[bytes], size: int, digest: str) -> None:
        member = tarfile.TarInfo(f"{FOLDER}/{name}")
        member.size, member.mtime, member.mode = size, 0, 0o644
        self._tar.addfile(member, file)
        self.sums.append(f"{digest}  {name}\n")


def from_window_start(performance: Performance) -> Performance:
    """The notes as a file of the window alone: keys held from before begin at 0, what the pedal alone holds is left out."""
    held = performance.offset_s > 0
    before = performance.pedal_s < 0
    pedal_s, pedal_value = performance.pedal_s[~before], performance.pedal_value[~before]
    if before.any():
        pedal_s = np.concatenate([[0.0], pedal_s])
        pedal_value = np.concatenate([performance.pedal_value[before][-1:], pedal_value])
    onset_s = np.maximum(performance.onset_s[held], 0.0)
    return Performance(
        onset_s, performance.offset_s[held], performance.pitch[held], performance.velocity[held], pedal_s, pedal_value
    )


def _sound(audio: NDArray[np.float32], audio_format: str) -> bytes:
    import soundfile

    written = io.BytesIO()
    soundfile.write(written, audio, SAMPLE_RATE_HZ, format=audio_format.upper(), subtype="PCM_16")
    return written.getvalue()


def _label(
    entry: Mapping[str, Any],
    job: SegmentJob,
    segment: int,
    tier: int,
    drawn: NDArray[np.float32],
    made: RenderedRow,
    store: Store,
) -> dict[str, Any]:
    assert entry["split"] in SPLITS
    return {
        "midi": None,
        "audio": None,
        "segment": segment,
        "tier": TIERS[tier],
        "split": entry["split"],
        "piece": entry["piece"],
        "piece_name": entry["piece_name"],
        "recording": job.recording,
        "source_midi": entry["midi"],
        "start_s": round(job.start_s, 6),
        "window_s": store.recipe.segments["window_s"],
        "status": made.status.name,
        "reason": made.reason,
        "n_notes": made.n_notes,
        "score": _named(DIMENSIONS, made.score),
        "valid": {name: bool(value) for name, value in zip(DIMENSIONS, made.valid, strict=True)},
        "level": _named(LEVELS, made.level),
        "level_drawn": _named(LEVELS, drawn),
        "difficulty": _named(COVARIATES, made.difficulty),
        "waveform": _named(WAVEFORM_MEASURES, made.waveform),
    }


def _named(names: Sequence[str], values: NDArray[np.float32]) -> dict[str, float | None]:
    """Seven digits are all that a float32 holds; JSON has no NaN."""
    return {
        name: float(f"{value:.7g}") if math.isfinite(value) else None
        for name, value in zip(names, values.tolist(), strict=True)
    }
