"""Parse each recording's MIDI file once, in worker processes, into a notes file, and list the problems of its files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from keybed.extract.corpus.durations import end_of
from keybed.extract.corpus.files import ABSENT, RecordingFiles
from keybed.extract.corpus.metadata import Corpus, Recording
from keybed.extract.music.midi import MidiError, parse_piano
from keybed.extract.music.midi_file import read_bytes
from keybed.extract.music.notes_file import save_notes
from keybed.extract.processes import process_pool
from keybed.extract.progress import Progress
from keybed.store.disk.durable import disk_error
from keybed.store.format.layout import Layout

DURATION_TOLERANCE_S = 2.0
"""The plan reports a MIDI file whose end differs from the CSV's duration by more than this many seconds."""


@dataclass(frozen=True)
class ParsedRecording:
    """Content of one recording's MIDI file. `problem` is None where there is none.

    end_s: time of the last note-off or pedal event. left_out: the MIDI's notes that are not of the piano, in words, or "".
    """

    recording: int
    midi_sha256: str
    n_notes: int
    end_s: float
    problem: str | None
    left_out: str


def parse_all(
    corpus: Corpus, wanted: Sequence[int], notes_folder: Path, *, jobs: int, progress: Progress
) -> dict[int, ParsedRecording]:
    """Parse these recordings into notes_folder, by recording id. An unreadable file becomes a `problem`, not an error.

    jobs: worker processes; 1 works in this process.
    """
    recordings = [corpus.recordings[index] for index in wanted]
    parse = partial(parse_one, corpus, notes_folder)
    parsed: dict[int, ParsedRecording] = {}
    if jobs <= 1 or len(recordings) < 8:
        for recording in recordings:
            parsed[recording.index] = parse(recording)
            progress("reading MIDI", len(parsed), len(recordings))
        return parsed
    folder_only = Corpus(corpus.folder, corpus.listed_in, b"", ())  # small to send to a process
    parse = partial(parse_one, folder_only, notes_folder)
    with process_pool(jobs, task="reads MIDI", advice="give more memory or fewer --jobs") as pool:
        for result in pool.map(parse, recordings, chunksize=4):
            parsed[result.recording] = result
            progress("reading MIDI", len(parsed), len(recordings))
    return parsed


def parse_one(corpus: Corpus, notes_folder: Path, recording: Recording) -> ParsedRecording:
    """Hash and parse one recording's MIDI file. A disk error where the notes file cannot be written."""
    midi = corpus.midi_path(recording)
    sha256, n_notes, end_s, problem, left_out = ABSENT, 0, 0.0, None, ""
    try:
        data = read_bytes(midi)
        sha256 = hashlib.sha256(data).hexdigest()
        reading = parse_piano(data, recording.midi)
    except MidiError as error:
        problem = str(error).replace(str(midi), recording.midi)
    else:
        performance, left_out = reading.performance, reading.left_out_in_words()
        n_notes = performance.n_notes
        end_s = end_of(performance)
        target = notes_folder / Layout(notes_folder).notes_of(recording.index).name
        try:
            save_notes(target, performance, sha256)
        except OSError as error:
            raise disk_error(error, target) from error
    return ParsedRecording(recording.index, sha256, n_notes, end_s, problem, left_out)


def file_problems(recording: Recording, files: RecordingFiles, parsed: ParsedRecording) -> list[str]:
    """The problems of a recording's files, one line each."""
    problems = [problem for problem in (parsed.problem, files.audio_problem) if problem]
    beyond_s, stated = parsed.end_s - recording.seconds, "of the MIDI" if recording.measured else "in the CSV"
    if parsed.problem is None and abs(beyond_s) > DURATION_TOLERANCE_S:
        consequence = "those without notes become rows with status NO_NOTES"
        if beyond_s > 0:
            consequence = f"the last {beyond_s:.1f} s of the MIDI are in none"
        problems.append(
            f"{recording.midi}: the CSV says {recording.seconds:.1f} s, the MIDI ends at {parsed.end_s:.1f} s; "
            f"windows follow the CSV, {consequence}"
        )
    if parsed.left_out:
        problems.append(f"{recording.midi}: {parsed.left_out}")
    if files.audio:
        seconds = files.audio["frames"] / files.audio["sample_rate_hz"]
        if seconds < recording.seconds - DURATION_TOLERANCE_S:
            problems.append(
                f"{recording.audio}: {seconds:.1f} s of sound for {recording.seconds:.1f} s {stated}; the rows of the "
                "windows beyond it become AUDIO_TOO_SHORT"
            )
        if seconds > recording.seconds + DURATION_TOLERANCE_S:
            problems.append(
                f"{recording.audio}: {seconds:.1f} s of sound for {recording.seconds:.1f} s {stated}; windows follow the "
                f"{'MIDI' if recording.measured else 'CSV'}, the last {seconds - recording.seconds:.1f} s of the sound are in none"
            )
    return problems
