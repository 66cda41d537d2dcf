"""`keybed.score` and what `keybed score` calls: one recording, or several files with their comparison."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.scoring.comparison import compare
from keybed.experiments.scoring.config import HOP_S
from keybed.experiments.scoring.errors import CannotScore
from keybed.experiments.scoring.load import load_model
from keybed.experiments.scoring.results import (
    FailedFile,
    ScoredFile,
    ScoredMusic,
    ScoreRecord,
    ScoreResults,
)
from keybed.experiments.scoring.scorer import Scorer
from keybed.experiments.scoring.source import (
    Source,
    of_pretty_midi,
    of_waveform,
    read_source,
    sound_duration_s,
    waveform_file,
)
from keybed.experiments.scoring.time_needed import Notice, time_needed, unheard
from keybed.experiments.scoring.transcription import transcribe_file
from keybed.extract.encoders.errors import EncoderError
from keybed.extract.music.midi import MidiError
from keybed.extract.music.performance import Performance
from keybed.extract.progress import Progress, silent
from keybed.store.counted import counted

if TYPE_CHECKING:
    import pretty_midi

Recording: TypeAlias = "str | Path | pretty_midi.PrettyMIDI | NDArray[np.floating[Any]]"
Model: TypeAlias = "str | Path | Scorer"


def score(
    recording: Recording,
    model: Model,
    *,
    audio: str | Path | NDArray[np.floating[Any]] | None = None,
    sample_rate_hz: int | None = None,
    hop_s: float = HOP_S,
) -> ScoredFile:
    """Score one recording in windows, one every hop_s seconds.

    recording: a MIDI file, a sound file with its MIDI file beside it, a `pretty_midi.PrettyMIDI`, or a waveform (samples,) whose
    notes are transcribed. model: a run of Phase 2 or 4, a file that `keybed pack` wrote, or a `Scorer`, which is the faster
    for many recordings. audio: the sound of a MIDI file or PrettyMIDI; sample_rate_hz: of a waveform.
    Raises CannotScore for input that cannot be scored, NoScoringRun and BadPack for a model that cannot be used.
    """
    scorer = model if isinstance(model, Scorer) else Scorer(load_model(Path(model)))
    with tempfile.TemporaryDirectory(prefix="keybed-waveform-") as folder:
        source = _source(recording, scorer, audio, sample_rate_hz, Path(folder))
        file = scorer.score(source, _checked(hop_s))[0]
    given = not isinstance(recording, np.ndarray) and not isinstance(audio, np.ndarray)
    return file if given else replace(file, audio_path=None)


def score_files(
    files: Sequence[Path],
    scorer: Scorer,
    *,
    audio: Path | None = None,
    hop_s: float = HOP_S,
    progress: Progress = silent,
    notice: Notice = unheard,
) -> ScoreResults:
    """Score files, and compare each with the first. A file that cannot be scored is in `failed`; the others are scored.

    audio: the sound of the file, where there is one file. notice: gets a line before each file that takes more than a minute.
    Raises CannotScore for a wrong hop, or `audio` with several files.
    """
    started = time.perf_counter()
    hop_s = _checked(hop_s)

    def announce(name: str, duration_s: float, *, transcribed: bool) -> None:
        line = time_needed(
            name, duration_s, hop_s, scorer.model.window_s, scorer.window_cost_s, transcribed=transcribed
        )
        if line is not None:
            notice(line)

    def transcribe(path: Path) -> Performance:
        announce(path.name, sound_duration_s(path), transcribed=True)
        return transcribe_file(path, progress)

    if audio is not None and len(files) > 1:
        raise CannotScore(f"--audio is the sound of one MIDI file; {counted(len(files), 'file')} are given")
    scored: list[ScoredFile] = []
    music: list[ScoredMusic] = []
    failed: list[FailedFile] = []
    for path in files:
        try:
            source = read_source(path, audio, recorded=scorer.recorded, transcribe=transcribe)
            if source.notes_from == "midi":
                announce(source.name, source.duration_s, transcribed=False)
            file, sounding = scorer.score(source, hop_s, progress)
        except (CannotScore, MidiError, EncoderError) as error:
            failed.append(FailedFile(path.name, str(path), str(error)))
            continue
        except OSError as error:
            failed.append(FailedFile(path.name, str(path), f"{path}: {error.strerror or error}"))
            continue
        scored.append(file)
        music.append(sounding)
    comparisons = tuple(
        compare(scored[0], music[0], other, notes, scorer.model.comparing)
        for other, notes in zip(scored[1:], music[1:], strict=True)
    )
    seconds = round(time.perf_counter() - started, 1)
    record = ScoreRecord(scorer.model.card, hop_s, tuple(scored), tuple(failed), comparisons, seconds)
    return ScoreResults(record, tuple(music))


def make_scorer(
    where: Path, store: Path | None = None, paths: Mapping[str, str] | None = None, progress: Progress = silent
) -> Scorer:
    """A Scorer of a run or of a packed file; see `load_model` and `Scorer`."""
    return Scorer(load_model(where, store, progress), paths)


def _source(
    recording: Recording,
    scorer: Scorer,
    audio: str | Path | NDArray[np.floating[Any]] | None,
    rate_hz: int | None,
    folder: Path,
) -> Source:
    """The recording as a source; waveforms become files in `folder`."""
    if isinstance(recording, np.ndarray):
        return of_waveform(waveform_file(recording, rate_hz, folder), transcribe_file)
    if isinstance(audio, np.ndarray):
        sound: Path | None = waveform_file(audio, rate_hz, folder)
    else:
        sound = None if audio is None else Path(audio)
    if isinstance(recording, str | Path):
        return read_source(Path(recording), sound, recorded=scorer.recorded, transcribe=transcribe_file)
    if not callable(getattr(recording, "write", None)):
        raise CannotScore(f"a {type(recording).__name__} is no recording: give a path, a PrettyMIDI or a waveform")
    return of_pretty_midi(recording, sound)


def _checked(hop_s: float) -> float:
    if not 0.1 <= hop_s <= 3600:
        raise CannotScore(f"a hop of {hop_s:g} s: give 0.1 s at least, and at most an hour")
    return hop_s
