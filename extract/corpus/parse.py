"""Parse each recording's MIDI file once, in worker processes, into a notes file, and list the problems of its files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from keybed.extract.corpus.metadata import Corpus, Recording
from keybed.extract.music.midi import MidiError, parse_piano
from keybed.extract.music.midi_file import read_bytes
from keybed.extract.music.notes_file import save_notes
from keybed.extract.processes import process_pool
from keybed.extract.progress import Progress
from keybed.extract.regular_files import size_of
from keybed.store.disk.durable import disk_error
from keybed.store.format.layout import Layout

ABSENT = "absent"
"""In place of the sha256 of a MIDI file that cannot be read."""
DURATION_TOLERANCE_S = 2.0
"""The plan reports a MIDI file whose end differs from the CSV's duration by more than this many seconds."""


@dataclass(frozen=True)
class ParsedRecording:
    """Content of one recording's files. `problem` and `audio_problem` are None where there is none.

    end_s: time of the last note-off or pedal event. left_out: the MIDI's notes that are not of the piano, in words, or "".
    audio: size and header of the sound file.
    """

    recording: int
    midi_sha256: str
    n_notes: int
    end_s: float
    problem: str | None
    left_out: str
    audio: dict[str, Any] | None
    audio_problem: str | None


def parse_all(
    corpus: Corpus, wanted: Sequence[int], notes_folder: Path, *, recorded: bool, jobs: int, progress: Progress
) -> dict[int, ParsedRecording]:
    """Parse these recordings into notes_folder, by recording id. An unreadable file becomes a `problem`, not an error.

    recorded: also read the headers of the sound files. jobs: worker processes; 1 works in this process.
    """
    recordings = [corpus.recordings[index] for index in wanted]
    parse = partial(parse_one, corpus, notes_folder, recorded)
    parsed: dict[int, ParsedRecording] = {}
    if jobs <= 1 or len(recordings) < 8:
        for recording in recordings:
            parsed[recording.index] = parse(recording)
            progress("reading MIDI", len(parsed), len(recordings))
        return parsed
    folder_only = Corpus(corpus.folder, corpus.csv_path, b"", ())  # small to send to a process
    parse = partial(parse_one, folder_only, notes_folder, recorded)
    with process_pool(jobs, task="reads MIDI", advice="give more memory or fewer --jobs") as pool:
        for result in pool.map(parse, recordings, chunksize=4):
            parsed[result.recording] = result
            progress("reading MIDI", len(parsed), len(recordings))
    return parsed


def parse_one(corpus: Corpus, notes_folder: Path, recorded: bool, recording: Recording) -> ParsedRecording:
    """Hash and parse one recording's files. A disk error where the notes file cannot be written."""
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
        end_s = max(float(performance.offset_s.max(initial=0.0)), float(performance.pedal_s[-1:].max(initial=0.0)))
        target = notes_folder / Layout(notes_folder).notes_of(recording.index).name
        try:
            save_notes(target, performance, sha256)
        except OSError as error:
            raise disk_error(error, target) from error
    audio, audio_problem = _audio(corpus, recording) if recorded else (None, None)
    return ParsedRecording(recording.index, sha256, n_notes, end_s, problem, left_out, audio, audio_problem)


def _audio(corpus: Corpus, recording: Recording) -> tuple[dict[str, Any] | None, str | None]:
    """Size and header of the recording's sound file, or the problem with it. Extraction hashes the samples later."""
    import soundfile

    if not recording.audio:
        return None, f"{recording.midi}: no audio_filename for it in the CSV"
    path = corpus.audio_path(recording)
    try:
        size = size_of(path)
        info = soundfile.info(path)
    except FileNotFoundError:
        return None, f"{recording.audio}: no such file"
    except OSError as error:
        return None, f"{recording.audio}: {error.strerror or error}"
    except soundfile.LibsndfileError as error:
        return None, f"{recording.audio}: {error.error_string}"
    header = {
        "bytes": size,
        "frames": info.frames,
        "sample_rate_hz": info.samplerate,
        "channels": info.channels,
        "subtype": info.subtype,
    }
    return header, None


def file_problems(recording: Recording, parsed: ParsedRecording) -> list[str]:
    """The problems of a recording's files, one line each."""
    problems = [problem for problem in (parsed.problem, parsed.audio_problem) if problem]
    beyond_s = parsed.end_s - recording.duration_s
    if parsed.problem is None and abs(beyond_s) > DURATION_TOLERANCE_S:
        consequence = "those without notes become rows with status NO_NOTES"
        if beyond_s > 0:
            consequence = f"the last {beyond_s:.1f} s of the MIDI are in none"
        problems.append(
            f"{recording.midi}: the CSV says {recording.duration_s:.1f} s, the MIDI ends at {parsed.end_s:.1f} s; "
            f"windows follow the CSV, {consequence}"
        )
    if parsed.left_out:
        problems.append(f"{recording.midi}: {parsed.left_out}")
    if parsed.audio:
        seconds = parsed.audio["frames"] / parsed.audio["sample_rate_hz"]
        if seconds < recording.duration_s - DURATION_TOLERANCE_S:
            problems.append(
                f"{recording.audio}: {seconds:.1f} s of sound for {recording.duration_s:.1f} s in the CSV; the rows of the "
                "windows beyond it become AUDIO_TOO_SHORT"
            )
        if seconds > recording.duration_s + DURATION_TOLERANCE_S:
            problems.append(
                f"{recording.audio}: {seconds:.1f} s of sound for {recording.duration_s:.1f} s in the CSV; windows follow the "
                f"CSV, the last {seconds - recording.duration_s:.1f} s of the sound are in none"
            )
    return problems
