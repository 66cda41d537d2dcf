"""How long recordings are whose listing does not say so: until the last note or pedal event of their MIDI file."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from keybed.extract.corpus.metadata import Corpus, Recording
from keybed.extract.music.midi import MidiError, parse_piano
from keybed.extract.music.midi_file import read_bytes
from keybed.extract.music.performance import Performance
from keybed.extract.processes import process_pool
from keybed.extract.progress import Progress

_FEWEST_FOR_PROCESSES = 8


def end_of(performance: Performance) -> float:
    """Seconds of the last note-off or pedal event."""
    p = performance
    return max(float(p.offset_s.max(initial=0.0)), float(p.pedal_s[-1:].max(initial=0.0)))


def with_durations(corpus: Corpus, jobs: int, progress: Progress) -> Corpus:
    """The corpus with every duration that a MIDI file gives. What cannot be read is listed as unreadable."""
    unknown = [recording for recording in corpus.recordings if recording.duration_s is None]
    if not unknown:
        return corpus
    bare = Corpus(corpus.folder, corpus.listed_in, b"", ())  # small to send to a process
    measure = partial(_measured, bare)
    measured: list[tuple[float | None, str]] = []
    if jobs <= 1 or len(unknown) < _FEWEST_FOR_PROCESSES:
        for recording in unknown:
            measured.append(measure(recording))
            progress("measuring MIDI", len(measured), len(unknown))
    else:
        with process_pool(jobs, task="reads MIDI", advice="give more memory or fewer --jobs") as pool:
            for one in pool.map(measure, unknown, chunksize=4):
                measured.append(one)
                progress("measuring MIDI", len(measured), len(unknown))
    recordings = list(corpus.recordings)
    problems = []
    for recording, (seconds, problem) in zip(unknown, measured, strict=True):
        recordings[recording.index] = replace(recording, duration_s=seconds, measured=True)
        if problem:
            problems.append(problem)
    return replace(corpus, recordings=tuple(recordings), unreadable=(*corpus.unreadable, *problems))


def _measured(corpus: Corpus, recording: Recording) -> tuple[float | None, str]:
    path = corpus.midi_path(recording)
    try:
        return end_of(parse_piano(read_bytes(path), recording.midi).performance), ""
    except MidiError as error:
        return None, str(error).replace(str(path), recording.midi)
