"""What `phase5 select`, `serve` and `ingest` can be asked. Imports nothing heavy: the command line reads it for help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from keybed.store.option import Option

SetFolder = Annotated[
    Path, Option("folder of the rating set (made by `phase5 select`)", metavar="DIR", positional=True)
]


@dataclass(frozen=True)
class SelectConfig:
    """store: a store of the mixed profile, or of any with `trial`. override: why clips are drawn without a GO of Phase 4."""

    store: Annotated[Path, Option("folder of the store", metavar="STORE", positional=True)]
    out: Annotated[Path, Option("folder of the rating set to make", metavar="DIR")]
    after: Annotated[Path | None, Option("the Phase 4 run whose gate allows this", metavar="RUN4")] = None
    n: Annotated[int, Option("clips to be rated")] = 250
    raters: Annotated[tuple[str, ...], Option("names of the raters")] = ("rater 1", "rater 2", "rater 3", "rater 4")
    repeats: Annotated[
        int | None, Option("clips that each rater hears twice (default: 20, or a third of the clips)", least=0)
    ] = None
    anchors: Annotated[int, Option("practice clips at the start: the first 8 show one dimension each", least=0)] = 8
    seed: Annotated[int, Option("seed of the draw and of the raters' orders", least=0)] = 0
    max_label_r: Annotated[
        float | None,
        Option(
            "largest correlation allowed between two dimensions' labels in the sample (default: 0.15 for 250 clips, "
            "larger for fewer, as chance correlations are)"
        ),
    ] = None
    max_pristine: Annotated[float, Option("largest share of pristine (undegraded) clips")] = 0.15
    consent: Annotated[
        Path | None, Option("text file that every rater must agree to before the first clip", metavar="FILE")
    ] = None
    contact: Annotated[str, Option("whom raters may ask, shown on the first and the last page", metavar="WORDS")] = ""
    trial: Annotated[
        bool,
        Option(
            "a small set to try the page with: at most 6 clips of any split, without limits and without a Phase 4; "
            "its ratings decide nothing"
        ),
    ] = False
    override: Annotated[
        str | None, Option("go on without Phase 4's GO; every report shows the reason", metavar="REASON")
    ] = None


@dataclass(frozen=True)
class ServeConfig:
    """static: write offline folders to folder/static instead of serving."""

    folder: SetFolder
    host: Annotated[str, Option("address to listen on; 127.0.0.1 is this machine alone")] = "127.0.0.1"
    port: Annotated[int, Option("port to listen on")] = 8321
    public_url: Annotated[
        str | None, Option("start of the raters' links, where it is not http://HOST:PORT", metavar="URL")
    ] = None
    proxy: Annotated[
        str | None,
        Option("address of the reverse proxy whose X-Forwarded-For is believed (default: none)", metavar="ADDRESS"),
    ] = None
    static: Annotated[bool, Option("write DIR/static, one folder per rater, for raters without a connection")] = False


@dataclass(frozen=True)
class IngestConfig:
    """Results go to folder/result."""

    folder: SetFolder
    replicates: Annotated[int, Option("bootstrap resamples per interval")] = 2000
    seed: Annotated[int, Option("seed of the bootstrap", least=0)] = 0
