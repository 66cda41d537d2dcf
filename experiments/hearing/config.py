"""What `keybed listen` can be asked. Imports nothing heavy: the command line reads it for help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from keybed.store.option import NoOption, Option


@dataclass(frozen=True)
class ListenConfig:
    """axes None: all seven, or tone alone where the store's audio is recorded."""

    store: Annotated[Path, Option("folder of the store", metavar="STORE", positional=True)]
    out: Annotated[Path, Option("folder of the page to write", metavar="DIR")]
    axes: Annotated[
        tuple[str, ...] | None, Option("only these axes, such as timing,pedal", flag="--axis", metavar="AXIS")
    ] = None
    seed: Annotated[int, Option("seed of the choice of segments", least=0)] = 0
    alone: Annotated[
        bool, Option("degrade one axis alone, to the middle of each tier, in place of the store's own rows")
    ] = False
    paths: Annotated[Mapping[str, str], NoOption("--maestro, --soundfont and --note-bank fill it")] = field(
        default_factory=dict
    )
