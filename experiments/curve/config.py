"""What `keybed curve` can be asked. Imports nothing heavy: the command line reads it for help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from keybed.experiments.phases.config import (
    AudioEncoder,
    Folds,
    Hidden,
    LearningRate,
    MemoryGib,
    MidiEncoder,
    RunFolder,
    StoreFolder,
)
from keybed.store.option import Option


@dataclass(frozen=True)
class CurveConfig:
    """All choices of a curve. draws: each has its own nested subsets and its own seed of the heads."""

    store: StoreFolder
    out: RunFolder
    audio: AudioEncoder = None
    midi: MidiEncoder = None
    draws: Annotated[int, Option("random draws of nested training sets, each with a seed of its own")] = 3
    epochs: Annotated[int, Option("epochs on all training rows; smaller sets are repeated to as many steps")] = 10
    hidden: Hidden = 128
    learning_rate: LearningRate = 3e-3
    folds: Folds = 5
    memory_gib: MemoryGib = 4.0
    percepiano: Annotated[
        Path | None, Option("PercePiano's folder: also find how many rated passages beat zero-shot", metavar="DIR")
    ] = None
    after: Annotated[
        Path | None, Option("with --percepiano: the Phase 2 run on this store whose heads are zero-shot", metavar="RUN")
    ] = None
    head: Annotated[str, Option("with --percepiano: the head of --after that is zero-shot")] = "gated"
    seed: Annotated[int, Option("seed of the training sets and of the bootstrap", least=0)] = 0
