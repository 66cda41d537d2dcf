"""Degrade and render the rows of one segment, and compute the baselines and tokens. Imports no torch.

Runs in worker processes.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.extract import encoders
from keybed.extract.audio.recorded import Recorder
from keybed.extract.audio.render import Renderer
from keybed.extract.audio.room import Recording, load_rooms, microphone_of
from keybed.extract.audio.waveform import RenderedRow
from keybed.extract.degrade import PreparedRecording, Variant, make_variant, prepare, unlabelled_variant, with_ratings
from keybed.extract.encoders.base import Clip, Music
from keybed.extract.music.midi import MidiError
from keybed.extract.music.notes_file import load_notes
from keybed.extract.music.performance import Performance
from keybed.extract.processes import keep_freed_memory
from keybed.extract.regular_files import find_file
from keybed.extract.run.row_arrays import feature_arrays
from keybed.extract.run.shard_file import RowsTarget
from keybed.store.format.layout import Layout
from keybed.store.format.recipe import EncoderSpec
from keybed.store.format.vocabulary import Status

_CACHED_RECORDINGS = 32
AUDIO = "audio"
"""Name of the waveforms in a shard's file."""
RENDER = "render"
"""Name of rendering and everything before it among the seconds of a segment."""
_NO_AUDIO = np.empty(0, np.float32)


@dataclass(frozen=True)
class Instrument:
    """What plays one soundfont's rows. soundfont: not needed where there is a bank. bank: None where FluidSynth plays."""

    soundfont: Path | None
    bank: Path | None = None


@dataclass(frozen=True)
class RenderConfig:
    """What all segments of a store share."""

    store: Path
    seed: int
    window_s: float
    instruments: tuple[Instrument, ...]
    """By their number in `row/soundfont`; one where the store has one soundfont, none where its audio is recorded."""
    maestro: Path | None
    """The folder of the recorded audio; None where audio is rendered."""
    audio_files: tuple[str, ...]
    """Path of each recording's audio file inside `maestro`."""
    midi_problems: Mapping[int, str]
    """Recordings whose MIDI could not be read when the store was planned, and why."""
    notes_sha256: Mapping[int, str] | None
    """Checksum of each recording's notes file in the plan; None where `verify` works without a readable plan."""
    rooms: Path | None = None
    """Impulse responses of the rooms; None where rows are dry."""
    drawn_as: Mapping[int, int] = field(default_factory=dict)
    """Recordings of a joined store: the numbers that they had in the store where their rows were drawn."""
    rating_dimensions: tuple[str, ...] = ()
    rating_scale: tuple[float, float] = (0.0, 100.0)
    """Of a store of ratings: the names along a row's ratings, and the worst and the best rating."""
    music: Mapping[int, Music] = field(default_factory=dict)
    """By recording, for encoders whose models may have been fitted to it."""
    models: Mapping[str, Path] = field(default_factory=dict)
    """The file of each encoder that runs beside rendering with models of undegraded playing."""

    @property
    def soundfont(self) -> Path | None:
        """That of the first instrument, with which everything is rendered that is no row of the store."""
        return self.instruments[0].soundfont if self.instruments else None

    @property
    def bank(self) -> Path | None:
        """The first instrument's note bank; None where FluidSynth plays it, or rows are recorded."""
        return self.instruments[0].bank if self.instruments else None


@dataclass(frozen=True, eq=False)
class SegmentJob:
    """The rows of one segment: consecutive rows of the store with the same recording and start."""

    recording: int
    start_s: float
    tiers: tuple[int, ...]
    level_drawn: NDArray[np.float32]
    """(rows, 8)"""
    soundfont: int = 0
    """Number of the instrument."""
    room: int = 0
    microphone: tuple[float, ...] = ()
    """`row/room` and `row/microphone` of a store with rooms."""
    rating: NDArray[np.float32] | None = None
    """(rows, rating dimension) of a store of ratings."""


@dataclass(frozen=True, eq=False)
class FilledSegment:
    """Rows of one segment whose waveforms and features were written into the shard's file.

    rows: without audio. cpu_s: processor seconds by stage: RENDER, then each encoder that was computed.
    """

    rows: list[RenderedRow]
    cpu_s: Mapping[str, float]


class RowMaker:
    """Makes rows of one store. Caches the notes of the last recordings, so that a process seldom reads a file twice.

    specs: the recipe's encoders; `fill` computes those of them that run beside rendering, and the tokens of the others.
    """

    def __init__(self, config: RenderConfig, specs: Sequence[EncoderSpec] = ()) -> None:
        keep_freed_memory()
        self.config = config
        self._encoders = [
            encoders.build_unchecked(spec, config.models.get(spec.name))
            for spec in specs
            if encoders.runs_in_renderer(spec)
        ]
        self._tokenized = [spec for spec in specs if encoders.has_tokens(spec)]
        self._renderers = tuple(Renderer(i.soundfont, i.bank) for i in config.instruments)
        self._recorder = Recorder()
        self._prepared: OrderedDict[int, PreparedRecording] = OrderedDict()

    def make(self, job: SegmentJob) -> list[RenderedRow]:
        """All rows of one segment, in order. Raises MidiError where a notes file is damaged."""
        rows = self.render_all(self.variants(job), job)
        for row in rows:
            if row.status == Status.OK:
                row.audio_sha256 = hashlib.sha256(np.ascontiguousarray(row.audio).data).hexdigest()
        return rows

    def fill(self, job: SegmentJob, target: RowsTarget) -> FilledSegment:
        """Make a segment's rows, and write what the file of `target` holds of them: waveforms, features of baselines.

        Raises what `make`, the encoders and RowsTarget.write raise.
        """
        cpu_s, began = {}, time.process_time()
        rows = self.make(job)
        cpu_s[RENDER] = time.process_time() - began
        clips = self.clips(rows, job)
        arrays: dict[str, NDArray] = {}
        for encoder in self._encoders:
            began = time.process_time()
            arrays |= feature_arrays(encoder, clips, np.float16)
            cpu_s[encoder.spec.name] = time.process_time() - began
        began = time.process_time()
        for row, clip in zip(rows, clips, strict=True):
            if clip is not None:
                row.tokens = {spec.name: encoders.tokenize(spec, clip) for spec in self._tokenized}
        if AUDIO in target.arrays:
            arrays[AUDIO] = np.stack([row.audio for row in rows])
        target.write(arrays)
        for row in rows:
            row.audio = _NO_AUDIO
        cpu_s[RENDER] += time.process_time() - began
        return FilledSegment(rows, cpu_s)

    def clips(self, rows: Sequence[RenderedRow], job: SegmentJob) -> list[Clip | None]:
        """Rows of `make` in the form that encoders take; None for rows that have failed."""
        window_s, music = self.config.window_s, self.config.music.get(job.recording)
        return [
            Clip(row.audio, row.variant.performance, window_s, music=music) if row.status == Status.OK else None
            for row in rows
        ]

    def variants(self, job: SegmentJob) -> list[Variant]:
        """The degraded notes and labels of each row. Raises MidiError where a notes file is damaged."""
        made = self._variants(job)
        if job.rating is None:
            return made
        names, scale = self.config.rating_dimensions, self.config.rating_scale
        return [with_ratings(variant, row, names, scale) for variant, row in zip(made, job.rating, strict=True)]

    def _variants(self, job: SegmentJob) -> list[Variant]:
        problem = self.config.midi_problems.get(job.recording)
        if problem is not None:
            return [unlabelled_variant(tier, Status.MIDI_UNREADABLE, problem) for tier in job.tiers]
        prepared = self._recording(job.recording)
        return [
            make_variant(
                prepared,
                job.start_s,
                self.config.window_s,
                level,
                seed=self.config.seed,
                recording_id=self.config.drawn_as.get(job.recording, job.recording),
                tier=tier,
            )
            for tier, level in zip(job.tiers, job.level_drawn, strict=True)
        ]

    def render(self, variant: Variant, job: SegmentJob) -> RenderedRow:
        """One variant of this job with its audio; a problem with the audio becomes the row's status."""
        return self.render_all([variant], job)[0]

    def render_all(self, variants: Sequence[Variant], job: SegmentJob) -> list[RenderedRow]:
        """`render` of several variants, with the same bytes and faster."""
        if self.config.maestro is None:
            recording = None
            if self.config.rooms is not None:
                recording = Recording(load_rooms(self.config.rooms).responses[job.room], microphone_of(job.microphone))
            return self._renderers[job.soundfont].render_all(variants, self.config.window_s, recording)
        path = find_file(self.config.maestro, self.config.audio_files[job.recording])
        return self._recorder.render_all(variants, self.config.window_s, path, job.start_s)

    def _recording(self, recording: int) -> PreparedRecording:
        if recording not in self._prepared:
            while len(self._prepared) >= _CACHED_RECORDINGS:
                self._prepared.popitem(last=False)
            self._prepared[recording] = prepare(self._notes(recording))
        self._prepared.move_to_end(recording)
        return self._prepared[recording]

    def _notes(self, recording: int) -> Performance:
        """A recording's notes, from the file that was planned and no other."""
        path, expected = Layout(self.config.store).notes_of(recording), self.config.notes_sha256
        if expected is not None and recording not in expected:
            raise MidiError(
                f"{path}: the plan (commits/plan.json) has no notes of this recording; plan the store again"
            )
        return load_notes(path, None if expected is None else expected[recording])


def segment_jobs(columns: Mapping[str, NDArray]) -> list[SegmentJob]:
    """Group consecutive rows of planned columns by segment."""
    segment = columns["segment"]
    starts = np.flatnonzero(np.r_[True, segment[1:] != segment[:-1]]) if segment.size else np.zeros(0, np.intp)
    return [
        SegmentJob(
            recording=int(columns["recording"][start]),
            start_s=float(columns["start_s"][start]),
            tiers=tuple(int(tier) for tier in columns["tier"][start:stop]),
            level_drawn=columns["level_drawn"][start:stop],
            soundfont=int(columns["soundfont"][start]) if "soundfont" in columns else 0,
            room=int(columns["room"][start]) if "room" in columns else 0,
            microphone=tuple(columns["microphone"][start].tolist()) if "microphone" in columns else (),
            rating=columns["rating"][start:stop] if "rating" in columns else None,
        )
        for start, stop in zip(starts, np.r_[starts[1:], segment.size], strict=True)
    ]
