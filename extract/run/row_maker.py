"""One segment's variants from notes to sound: the part of a shard's work that runs in worker processes. No torch here."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.extract.audio.recorded import Recorder
from keybed.extract.audio.render import Renderer
from keybed.extract.audio.waveform import RenderedAudio
from keybed.extract.degrade import PreparedRecording, Variant, make_variant, prepare
from keybed.extract.music.notes_file import load_notes
from keybed.extract.music.performance import Performance
from keybed.store.format.layout import Layout
from keybed.store.format.vocabulary import COVARIATES, DIMENSIONS, LEVELS, WAVEFORM_MEASURES, Status

_KEPT_RECORDINGS = 32


@dataclass(frozen=True)
class RenderConfig:
    """What all segments of a store share."""

    store: Path
    seed: int
    window_s: float
    soundfont: Path | None
    """None where the store's audio is recorded."""
    maestro: Path | None
    """Where the recorded sound lies; None where audio is rendered."""
    sounds: tuple[str, ...]
    """Each recording's sound file inside `maestro`."""
    midi_problems: dict[int, str]
    """Recordings whose MIDI could not be read when the store was planned, and why."""


@dataclass(frozen=True, eq=False)
class SegmentJob:
    """Rows of one segment: neighbours in the store that share recording and start."""

    recording: int
    start_s: float
    tiers: tuple[int, ...]
    level_drawn: NDArray[np.float32]
    """(rows, 8)"""


@dataclass(eq=False)
class RenderedRow:
    """One finished row before encoding. `performance` and `audio` are None where status is not OK; whoever moves the
    audio elsewhere sets it to None too."""

    status: Status
    reason: str
    n_notes: int
    score: NDArray[np.float32]
    valid: NDArray[np.bool_]
    level: NDArray[np.float32]
    difficulty: NDArray[np.float32]
    waveform: NDArray[np.float32]
    performance: Performance | None
    audio: NDArray[np.float32] | None
    audio_sha256: str


class RowMaker:
    """Makes rows of one store. Keeps the last recordings' notes, so that a process reads each file seldom."""

    def __init__(self, config: RenderConfig) -> None:
        self.config = config
        self._renderer = Renderer(config.soundfont) if config.maestro is None else None
        self._recorder = Recorder()
        self._prepared: OrderedDict[int, PreparedRecording] = OrderedDict()

    def make(self, job: SegmentJob) -> list[RenderedRow]:
        """All rows of one segment, in order. Raises MidiError where a notes file is damaged."""
        if job.recording in self.config.midi_problems:
            return [_unreadable(self.config.midi_problems[job.recording]) for _ in job.tiers]
        return [self._row(variant, job) for variant in self.variants(job)]

    def variants(self, job: SegmentJob) -> list[Variant]:
        """The degraded notes alone."""
        prepared = self._recording(job.recording)
        return [
            make_variant(
                prepared,
                job.start_s,
                self.config.window_s,
                level,
                seed=self.config.seed,
                recording_id=job.recording,
                tier=tier,
            )
            for tier, level in zip(job.tiers, job.level_drawn, strict=True)
        ]

    def render(self, variant: Variant, job: SegmentJob) -> RenderedAudio:
        """The finished waveform of one variant."""
        if self._renderer is not None:
            return self._renderer.render(variant, self.config.window_s)
        assert self.config.maestro is not None
        path = self.config.maestro / self.config.sounds[job.recording]
        return self._recorder.render(variant, self.config.window_s, path, job.start_s)

    def _row(self, variant: Variant, job: SegmentJob) -> RenderedRow:
        sound = self.render(variant, job)
        ok = sound.status == Status.OK
        return RenderedRow(
            status=sound.status,
            reason=sound.reason,
            n_notes=variant.n_notes,
            score=variant.score,
            valid=variant.valid if ok else np.zeros_like(variant.valid),
            level=variant.level,
            difficulty=variant.difficulty,
            waveform=sound.waveform,
            performance=variant.performance if ok else None,
            audio=sound.audio if ok else None,
            audio_sha256=hashlib.sha256(np.ascontiguousarray(sound.audio).data).hexdigest() if ok else "",
        )

    def _recording(self, recording: int) -> PreparedRecording:
        if recording not in self._prepared:
            while len(self._prepared) >= _KEPT_RECORDINGS:
                self._prepared.popitem(last=False)
            self._prepared[recording] = prepare(load_notes(Layout(self.config.store).notes_of(recording)))
        self._prepared.move_to_end(recording)
        return self._prepared[recording]


def _unreadable(problem: str) -> RenderedRow:
    def unknown(n: int) -> NDArray[np.float32]:
        return np.full(n, np.nan, np.float32)

    return RenderedRow(
        status=Status.MIDI_UNREADABLE,
        reason=problem,
        n_notes=0,
        score=unknown(len(DIMENSIONS)),
        valid=np.zeros(len(DIMENSIONS), bool),
        level=unknown(len(LEVELS)),
        difficulty=unknown(len(COVARIATES)),
        waveform=unknown(len(WAVEFORM_MEASURES)),
        performance=None,
        audio=None,
        audio_sha256="",
    )


def segment_jobs(columns: dict[str, NDArray]) -> list[SegmentJob]:
    """Consecutive rows of planned columns, grouped by segment."""
    segment = columns["segment"]
    starts = np.flatnonzero(np.r_[True, segment[1:] != segment[:-1]]) if segment.size else np.zeros(0, np.intp)
    jobs = []
    for start, stop in zip(starts, np.r_[starts[1:], segment.size], strict=True):
        jobs.append(
            SegmentJob(
                recording=int(columns["recording"][start]),
                start_s=float(columns["start_s"][start]),
                tiers=tuple(int(tier) for tier in columns["tier"][start:stop]),
                level_drawn=columns["level_drawn"][start:stop],
            )
        )
    return jobs
