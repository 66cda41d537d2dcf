"""Find the recordings of rated passages, cut windows out of the passages, and look at the ratings as a whole."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from keybed.extract.corpus.metadata import Corpus, CorpusError, Recording
from keybed.extract.corpus.ratings import Passage, Ratings
from keybed.extract.corpus.windows import n_windows
from keybed.store.counted import counted

_SHOWN = 5
AGAINST_R = -0.3
"""A dimension whose ratings correlate so with the mean of the others may have its scale upside down."""
FEWEST_PASSAGES = 10
"""Fewer passages are too few to say so."""


@dataclass(frozen=True)
class RatedPassage:
    """A passage of a recording: its number in the corpus, and the ratings."""

    recording: int
    passage: Passage


@dataclass(frozen=True)
class Rated:
    """The rated passages of a corpus, and what did not fit together, in words."""

    passages: tuple[RatedPassage, ...]
    remarks: tuple[str, ...]


def rated_passages(corpus: Corpus, ratings: Ratings) -> Rated:
    """Match files of the ratings with recordings, by path, name, or name without its ending.

    Raises CorpusError where a name fits two recordings, and where none fits any.
    """
    by_name = _names(corpus.recordings)
    found: list[RatedPassage] = []
    absent: list[str] = []
    outside: list[str] = []
    for passage in ratings.passages:
        fitting = _fitting(by_name, passage.file)
        if len(fitting) > 1:
            both = " and ".join(corpus.recordings[index].midi for index in sorted(fitting)[:2])
            raise CorpusError(f"{ratings.path}: {passage.file} may be {both}; write the path as the corpus has it")
        if not fitting:
            absent.append(passage.file)
            continue
        recording = corpus.recordings[next(iter(fitting))]
        if recording.duration_s is not None and (passage.start_s or 0.0) >= recording.duration_s:
            outside.append(f"{passage.file} from {passage.start_s:g} s")
            continue
        found.append(RatedPassage(recording.index, passage))
    if not found:
        first = corpus.recordings[0].midi if corpus.recordings else "none"
        raise CorpusError(
            f"{ratings.path}: none of its {counted(len(ratings.passages), 'passage')} is of a file of the corpus (the first: "
            f"{ratings.passages[0].file}; the corpus's first: {first})"
        )
    unrated = len(corpus.recordings) - len({passage.recording for passage in found})
    remarks = [
        *_listed("ratings for files that do not exist", sorted(set(absent))),
        *_listed("ratings of passages beyond the end of their file", outside),
        *([f"recordings without a rating, left out: {unrated}"] if unrated else []),
        *_against(ratings, found),
    ]
    return Rated(tuple(found), tuple(remarks))


def window_starts(recording: Recording, passage: Passage, window_s: float, hop_s: float) -> list[float]:
    """Starts of the windows inside a passage; a passage shorter than a window has one, at its start."""
    start = passage.start_s or 0.0
    end = recording.seconds if passage.end_s is None else min(passage.end_s, recording.seconds)
    return [start + number * hop_s for number in range(max(1, n_windows(end - start, window_s, hop_s)))]


def _names(recordings: Sequence[Recording]) -> dict[str, set[int]]:
    names: dict[str, set[int]] = defaultdict(set)
    for recording in recordings:
        for file in (recording.midi, recording.audio):
            if file:
                for name in _forms(file):
                    names[name].add(recording.index)
    return names


def _forms(file: str) -> tuple[str, ...]:
    """Path, name, path without ending, name without ending, in the order in which they are tried."""
    path = PurePosixPath(unicodedata.normalize("NFC", file.strip()))
    without = path.with_suffix("") if path.suffix.lower() in (".mid", ".midi", ".wav", ".flac") else path
    return tuple(dict.fromkeys(text.strip() for text in (str(path), path.name, str(without), without.name)))


def _fitting(by_name: dict[str, set[int]], file: str) -> set[int]:
    return next((by_name[name] for name in _forms(file) if name in by_name), set())


def _listed(heading: str, entries: Sequence[str]) -> list[str]:
    if not entries:
        return []
    more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
    return [f"{heading}: {len(entries)} ({', '.join(entries[:_SHOWN])}{more})"]


def _against(ratings: Ratings, found: Sequence[RatedPassage]) -> list[str]:
    """A warning for each dimension that runs against the mean of the others."""
    mean = np.array([rated.passage.mean for rated in found])
    lines = []
    for k, name in enumerate(ratings.dimensions):
        others = np.delete(mean, k, axis=1)
        known = np.isfinite(mean[:, k]) & np.isfinite(others).any(axis=1)
        if others.shape[1] == 0 or known.sum() < FEWEST_PASSAGES:
            continue
        rest = np.nanmean(others[known], axis=1)
        if np.ptp(mean[known, k]) == 0 or np.ptp(rest) == 0:
            continue
        r = float(np.corrcoef(mean[known, k], rest)[0, 1])
        if r < AGAINST_R:
            lines.append(
                f"WARNING: {name} runs against the mean of the other dimensions (r = {r:.2f}): is its scale upside down? "
                "--label-scale gives the worst rating first"
            )
    return lines
