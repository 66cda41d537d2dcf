"""What `score` and `pack` can be asked. Imports nothing heavy: the command line reads it for help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from keybed.store.option import NoOption, Option

DEFAULT_OUT = Path("scores")
HOP_S = 2.0
"""Seconds from one window to the next."""


@dataclass(frozen=True)
class ScoreConfig:
    """Everything that `keybed score` can be asked."""

    files: Annotated[
        tuple[Path, ...],
        Option(
            "MIDI files, or WAV and FLAC files with the MIDI file of the same name beside them",
            metavar="FILE",
            positional=True,
        ),
    ]
    model: Annotated[
        Path, Option("a run of Phase 2 or 4, or a file that `keybed pack` wrote", flag="--run", metavar="RUN")
    ]
    out: Annotated[
        Path | None,
        Option("folder for score.json, score.csv and the report; without it ./scores, with --json none", metavar="DIR"),
    ] = None
    hop_s: Annotated[
        float,
        Option(
            "seconds from one window's start to the next; a larger one is quicker where an encoder is a neural network",
            flag="--hop",
            metavar="S",
        ),
    ] = HOP_S
    audio: Annotated[
        Path | None, Option("the sound of the MIDI file; without it the notes are rendered", metavar="FILE")
    ] = None
    store: Annotated[Path | None, Option("the run's store, where it does not lie where it was or beside the run")] = (
        None
    )
    paths: Annotated[
        Mapping[str, str], NoOption("--soundfont, --note-bank and each encoder's --<encoder>-weights fill it")
    ] = field(default_factory=dict)


@dataclass(frozen=True)
class PackConfig:
    """Everything that `keybed pack` can be asked."""

    run_folder: Annotated[Path, Option("a finished run of Phase 2 or 4", metavar="RUN", positional=True)]
    out: Annotated[Path, Option("the file to write", metavar="MODEL.keybed", positional=True)]
    store: Annotated[Path | None, Option("the run's store, where it does not lie where it was or beside the run")] = (
        None
    )
