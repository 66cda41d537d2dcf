"""What `keybed sensitivity` can be asked. Imports nothing heavy: the command line reads it for help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from keybed.store.option import Option


@dataclass(frozen=True)
class SensitivityConfig:
    """What to ask of a planned store."""

    store: Annotated[Path, Option("folder of the store", metavar="STORE", positional=True)]
    out: Annotated[Path, Option("folder of the run", metavar="RUN")]
    segments: Annotated[int, Option("train segments to take")] = 100
    states: Annotated[
        tuple[int, ...],
        Option("states (layers of an encoder) whose frames are probed one by one; without it the recipe's average"),
    ] = ()
    folds: Annotated[int, Option("cross-validation folds by piece")] = 5
    seed: Annotated[int, Option("seed of the choice of segments", least=0)] = 0
    workers: Annotated[int, Option("processes that render")] = 2
