"""PercePiano's layout: FOLDER/midi with performances of passages, FOLDER/labels with ratings on 19 scales.

Names are `{composition}_{n}bars_{player}_{segment}`, sometimes with a stray space. Park, Kim et al., Scientific Reports 14
(2024).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from keybed.extract.corpus.metadata import Corpus, Recording
from keybed.extract.corpus.midi_folder import read_midi_folder

SCALES = (
    "timing: stable–unstable",
    "articulation: short–long",
    "articulation: soft–hard",
    "pedal: sparse–saturated",
    "pedal: clean–blurred",
    "timbre: even–colorful",
    "timbre: shallow–rich",
    "timbre: bright–dark",
    "timbre: soft–loud",
    "dynamics: sophisticated–raw",
    "dynamics: little–large range",
    "music making: fast–slow",
    "music making: flat–spacious",
    "music making: disproportioned–balanced",
    "music making: pure–dramatic",
    "mood: optimistic–dark",
    "mood: low–high energy",
    "mood: honest–imaginative",
    "interpretation: unsatisfactory–convincing",
)
_NAME = re.compile(r"(?P<composition>.+?)_(?P<length>\d+bars)_(?P<player>[^_]+)_(?P<segment>\d+)")
_PLAIN_NAME = re.compile(r"(?P<composition>.+)_(?P<player>[^_]+)_(?P<segment>\d+)")
_PART = re.compile(r"[ _.-]+(?:theme?|thema|tema|(?:var|variations?)[ _.-]*(?:\d+[a-z]?|[ivxlc]+))$", re.IGNORECASE)


def parts_of(name: str) -> Mapping[str, str] | None:
    """composition, player, segment and, where it is there, length of a performance's name; None for another name."""
    match = _NAME.fullmatch(name.strip()) or _PLAIN_NAME.fullmatch(name.strip())
    return None if match is None else match.groupdict()


def composition_of(name: str) -> str:
    """The name without a final theme or variation number: `Beethoven_WoO80_var12` and `Beethoven_WoO80_thema` are
    `Beethoven_WoO80`. Any other name as it is."""
    return _PART.sub("", name.strip()) or name


def is_percepiano(folder: Path) -> bool:
    """Whether the folder holds `midi/` and, in `labels/`, means over raters."""
    return (folder / "midi").is_dir() and any("mean" in path.stem for path in (folder / "labels").glob("*.json"))


def read_percepiano(folder: Path) -> Corpus:
    """One recording per performance; a piece is a composition, with its theme and variations. Raises CorpusError."""
    corpus = read_midi_folder(folder / "midi", "file")
    kept: list[Recording] = []
    left_out = list(corpus.left_out)
    for recording in corpus.recordings:
        parts = parts_of(PurePosixPath(recording.midi).stem)
        if parts is None:
            left_out.append(f"{recording.midi}: its name is not composition_player_segment")
            continue
        kept.append(
            replace(
                recording,
                index=len(kept),
                composer=parts["composition"].partition("_")[0],
                title=PurePosixPath(recording.midi).stem.strip(),
                piece=composition_of(parts["composition"]),
            )
        )
    remark = "read as PercePiano's layout: the names of the files give composition, player and passage"
    reading = {"layout": "percepiano"}
    return replace(corpus, recordings=tuple(kept), reading=reading, remarks=(remark,), left_out=tuple(sorted(left_out)))
