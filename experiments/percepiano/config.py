"""What `phase5 percepiano` can be asked. Imports nothing heavy: the command line reads it for help."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from keybed.store.option import NoOption, Option


@dataclass(frozen=True)
class HeadPlan:
    """Settings of every head that is fitted to ratings; none was chosen by looking at test performances."""

    kinds: Annotated[tuple[str, ...], Option("kinds of heads fitted to the ratings", flag="--heads")] = (
        "audio",
        "midi",
        "gated",
    )
    epochs: Annotated[int, Option("epochs of these heads")] = 10
    seeds: Annotated[int, Option("seeds of each head")] = 3
    hidden: Annotated[int, Option("hidden width of these heads")] = 64
    batch_rows: Annotated[int, Option("windows per training batch")] = 64
    learning_rate: Annotated[float, Option("AdamW's peak learning rate")] = 1e-3


@dataclass(frozen=True)
class PercepianoConfig:
    """after: a finished run with heads.npz for the zero-shot part, made on `store`.

    Without a store, encoders are used with their defaults; encoders=() then renders nothing.
    """

    folder: Annotated[Path, Option("PercePiano's folder, with labels/ and midi/", metavar="DIR", positional=True)]
    out: Annotated[Path, Option("folder of the run", metavar="RUN")]
    store: Annotated[Path | None, Option("take encoders and soundfont from this store's recipe")] = None
    after: Annotated[Path | None, Option("a Phase 2 run on that store, for the zero-shot part", metavar="RUN")] = None
    encoders: Annotated[
        tuple[str, ...] | None,
        Option("encoders beside the store's; without this and without a store logmel,expressive"),
    ] = None
    weights: Annotated[
        str | None, Option('weights of the encoders that need some; the report marks "random" and "random:tiny"')
    ] = None
    heads: Annotated[HeadPlan | None, NoOption("--heads, --epochs and the other settings of heads fill it")] = field(
        default_factory=HeadPlan
    )
    """Heads fitted to the ratings; None leaves them out."""
    head: Annotated[str, Option("the head of --after whose zero-shot correlations are tested")] = "gated"
    hop_s: Annotated[float, Option("seconds from one window's start to the next", flag="--hop", metavar="S")] = 6.2
    replicates: Annotated[int, Option("bootstrap resamples per interval")] = 1000
    seed: Annotated[int, Option("seed of the bootstrap", least=0)] = 0
