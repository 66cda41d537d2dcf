"""Export a planned store as one archive: degraded MIDI, audio and labels, rendered again from the plan.

The archive is streamed, so memory does not grow with it, and reproducible: equal stores give equal bytes.
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
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from keybed import store as stores
from keybed.extract.audio import render
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ, RenderedRow
from keybed.extract.config import ExportConfig
from keybed.extract.export.labels import label
from keybed.extract.export.readme import readme
from keybed.extract.export.reproducible_tar import ReproducibleTar
from keybed.extract.music.midi_writer import midi_bytes
from keybed.extract.music.performance import Performance
from keybed.extract.progress import Progress, silent
from keybed.extract.run.check_recipe import check_same_code, render_config
from keybed.extract.run.row_maker import RenderConfig, SegmentJob, segment_jobs
from keybed.extract.run.row_pool import RowPool
from keybed.store import Store
from keybed.store.command import shell_line
from keybed.store.counted import counted
from keybed.store.disk.durable import replace_file
from keybed.store.errors import KeybedError, NoDiskSpace
from keybed.store.format.vocabulary import TIERS, Status

FOLDER = "maestro_with_variance"
"""The folder inside the archive that holds all its files."""
SUFFIXES = (".tar.gz", ".tgz")
PLAYED = "audio-fluidsynth"
"""Folder, and field of a label, of what FluidSynth plays in place of the note bank."""
_ROW_BYTES = {"flac": 330_000, "wav": 500_000}
_SEGMENTS_PER_WORKER = 4
"""Segments submitted per worker at a time: enough to keep workers busy, few enough to keep memory constant."""


class ExportError(KeybedError):
    """The export cannot be made with these arguments."""


@dataclass(frozen=True)
class ExportReport:
    """What was written."""

    out: Path
    n_rows: int
    n_failed: int
    n_bytes: int
    sha256: str

    def lines(self) -> list[str]:
        """The report in words, one line each."""
        failed = f" ({self.n_failed} of them failed: labelled so, without files)" if self.n_failed else ""
        return [
            f"{counted(self.n_rows, 'row')}{failed}, {self.n_bytes / 1e6:,.1f} MB: {self.out}",
            f"sha256 {self.sha256}, also in {self.out.name}.sha256",
            f"next: {shell_line('tar', 'xzf', self.out)}   (then {FOLDER}/README.md)",
        ]


def export(config: ExportConfig, progress: Progress = silent) -> ExportReport:
    """Write the archive and, beside it, its checksum. Only the store's plan is read, not its features.

    Raises ExportError for unknown tiers, another suffix than SUFFIXES or an existing file, NoDiskSpace, and NotAsPlanned where the soundfont differs.
    """
    store = stores.open(config.store)
    if store.recipe.labels is not None:
        raise ExportError(
            f"{store.path} holds ratings by people: its rows are the recordings, and nothing of them is degraded; plan a store "
            "without --labels to export degraded rows"
        )
    check_same_code(store.recipe)
    jobs = _jobs(store, config)
    n_rows = sum(len(job.tiers) for _, job in jobs)
    both = config.renderer == "both"
    _check_out(config.out, n_rows * (1 + both), config.audio_format)
    rendering = render_config(store, {**store.machine_paths, **config.paths})
    renderings = [rendering, _played(store, rendering)] if both else [rendering]
    workers = len(os.sched_getaffinity(0)) if config.workers is None else config.workers
    with ExitStack() as stack:
        raw, labels = stack.enter_context(replace_file(config.out)), stack.enter_context(tempfile.TemporaryFile())
        pools = [stack.enter_context(RowPool(each, workers, n_rows=n_rows)) for each in renderings]
        n_failed = _write(
            raw, labels, store, jobs, pools, config, progress, n_rows, max(1, workers) * _SEGMENTS_PER_WORKER
        )
        raw.seek(0)
        digest = hashlib.file_digest(raw, "sha256").hexdigest()
    config.out.with_name(f"{config.out.name}.sha256").write_text(f"{digest}  {config.out.name}\n")
    return ExportReport(config.out, n_rows, n_failed, config.out.stat().st_size, digest)


def _played(store: Store, rendering: RenderConfig) -> RenderConfig:
    """The same rows, played by FluidSynth in place of the note bank."""
    if not any(instrument.bank for instrument in rendering.instruments):
        raise ExportError(f"--renderer both: {store.path} was not planned with a note bank; its audio has one renderer")
    for instrument in rendering.instruments:
        render.check_soundfont(instrument.soundfont)
    return replace(rendering, instruments=tuple(replace(i, bank=None) for i in rendering.instruments))


def _jobs(store: Store, config: ExportConfig) -> list[tuple[int, SegmentJob]]:
    """(first row of the segment in the store, job) of every segment to export."""
    tiers = TIERS if config.tiers is None else config.tiers
    unknown = [tier for tier in tiers if tier not in TIERS]
    if unknown or not tiers:
        raise ExportError(f"tier {', '.join(unknown) or 'none'}: choose of {', '.join(TIERS)}")
    wanted = {TIERS.index(tier) for tier in tiers}
    jobs = []
    row = 0
    for job in segment_jobs(store.columns(0, store.n_rows)):
        kept = [index for index, tier in enumerate(job.tiers) if tier in wanted]
        chosen = replace(job, tiers=tuple(job.tiers[index] for index in kept), level_drawn=job.level_drawn[kept])
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
    if not out.name.endswith(SUFFIXES):
        raise ExportError(
            f"{out}: the archive is a gzipped tar file; give it a name that ends with {' or '.join(SUFFIXES)}"
        )
    if out.exists():
        raise ExportError(f"{out} exists; remove it, or give the archive another name")
    if not out.parent.is_dir():
        raise ExportError(f"{out.parent}: no such folder")
    free, needed = shutil.disk_usage(out.parent).free, n_rows * _ROW_BYTES[audio_format]
    if free < needed:
        raise NoDiskSpace(
            f"{out.parent}: {free / 1e9:.1f} GB free, {counted(n_rows, 'row')} may need {needed / 1e9:.1f} GB"
        )


def _write(
    raw: IO[bytes],
    labels: IO[bytes],
    store: Store,
    jobs: Sequence[tuple[int, SegmentJob]],
    pools: Sequence[RowPool],
    config: ExportConfig,
    progress: Progress,
    n_rows: int,
    ahead: int,
) -> int:
    """Write the whole archive into `raw`; return the number of failed rows. labels: a temporary file for labels.jsonl.

    pools: of the planned renderer, and of FluidSynth where both are asked for.
    """
    recordings = store.recordings
    segments = store.columns(0, store.n_rows)["segment"]
    n_failed = done = 0
    with (
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.USTAR_FORMAT) as tar,
    ):
        archive = ReproducibleTar(tar, FOLDER)
        window_s = store.recipe.segments["window_s"]
        archive.add("README.md", readme(store.planned_recipe, config.audio_format, both=len(pools) > 1).encode())
        archive.add("recipe.json", json.dumps(store.planned_recipe.to_json(), indent=1, sort_keys=True).encode())
        made = zip(*(_in_order(pool, jobs, ahead) for pool in pools), strict=True)
        for (first_row, job, rows), *played in made:
            recording = recordings[job.recording]
            for number, (level_drawn, row) in enumerate(zip(job.level_drawn, rows, strict=True)):
                described = label(
                    recording,
                    segment=int(segments[first_row]),
                    start_s=job.start_s,
                    window_s=window_s,
                    level_drawn=level_drawn,
                    row=row,
                )
                if row.status == Status.OK:
                    stem = f"{described['split']}/{described['segment']:06d}_{described['tier']}"
                    described["midi"], described["audio"] = f"midi/{stem}.mid", f"audio/{stem}.{config.audio_format}"
                    archive.add(described["midi"], midi_bytes(from_window_start(row.variant.performance)))
                    archive.add(described["audio"], _encoded_audio(row.audio, config.audio_format))
                    for _, _, others in played:
                        described[PLAYED] = f"{PLAYED}/{stem}.{config.audio_format}"
                        archive.add(described[PLAYED], _encoded_audio(others[number].audio, config.audio_format))
                else:
                    n_failed += 1
                labels.write(json.dumps(described, ensure_ascii=False, allow_nan=False).encode() + b"\n")
                done += 1
            progress("exporting rows", done, n_rows)
        archive.add_file("labels.jsonl", labels)
        archive.add("SHA256SUMS", "".join(archive.sums).encode())
    return n_failed


def _in_order(
    pool: RowPool, jobs: Sequence[tuple[int, SegmentJob]], ahead: int
) -> Iterator[tuple[int, SegmentJob, list[RenderedRow]]]:
    """(first row, job, rows) of each segment, in the order of `jobs`, with at most `ahead` segments submitted."""
    waiting: deque[tuple[int, SegmentJob, Future[list[RenderedRow]]]] = deque()
    for first_row, job in jobs:
        waiting.append((first_row, job, pool.submit(job)))
        if len(waiting) > ahead:
            submitted_row, submitted, future = waiting.popleft()
            yield submitted_row, submitted, pool.result(future)
    for submitted_row, submitted, future in waiting:
        yield submitted_row, submitted, pool.result(future)


def from_window_start(performance: Performance) -> Performance:
    """The notes of the window as a file that starts at 0.

    Keys held from before the window begin at 0. Notes that only the pedal still holds at 0 are left out.
    """
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


def _encoded_audio(audio: NDArray[np.float32], audio_format: str) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, audio, SAMPLE_RATE_HZ, format=audio_format.upper(), subtype="PCM_16")
    return buffer.getvalue()
