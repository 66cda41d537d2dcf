"""What `plan`, `extract` and `export` can be asked. Imports nothing heavy: the command line reads it for help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from keybed.store.option import NoOption, Option

WINDOW_S = 10.0
HOP_S = 6.2
"""Seconds from the start of one segment to the start of the next."""
LAYOUTS = ("csv", "folder", "asap", "percepiano")
BASELINES = ("logmel", "expressive")
"""Planned by default: they need no weights, so that a first store can be made anywhere."""


@dataclass(frozen=True)
class WeightsFlags:
    """How the command line asks for the weights of an encoder: `--<encoder>-weights`, and `--<encoder>-revision`."""

    help: str
    metavar: str = "ID|DIR"
    on_hub: bool = True
    """Whether there is a Hugging Face repository, whose revision can be named."""


_TRANSKUN_HELP = "a checkpoint; without it the one of transkun==2.0.1 (MIT) that `keybed fetch transkun` brings"
WEIGHTS = {
    "mert": WeightsFlags("Hugging Face id or local folder (m-a-p/MERT-v1-95M, CC-BY-NC-4.0)"),
    "midibert": WeightsFlags("the authors' checkpoint, pre-trained or fine-tuned", metavar="FILE", on_hub=False),
    "muq": WeightsFlags("Hugging Face id or local folder (OpenMuQ/MuQ-large-msd-iter, CC-BY-NC-4.0)"),
    "aria": WeightsFlags("Hugging Face id or local folder (loubb/aria-medium-base, Apache-2.0)"),
    "transkun": WeightsFlags(_TRANSKUN_HELP, metavar="FILE", on_hub=False),
    "transcribed": WeightsFlags(_TRANSKUN_HELP, metavar="FILE", on_hub=False),
    "expected": WeightsFlags("models of undegraded playing, which `keybed expect` makes", metavar="FILE", on_hub=False),
}
"""The encoders that need weights."""


def soundfont_paths(text: str | Path | None) -> tuple[Path, ...]:
    """`a.sf2,b.sf2` as two paths; a file with a comma in its name is one."""
    if text is None:
        return ()
    if Path(text).exists():
        return (Path(text),)
    return tuple(Path(part) for part in str(text).split(",") if part)


StoreFolder = Annotated[Path, Option("folder of the store", metavar="STORE", positional=True)]
MachinePaths = Annotated[
    Mapping[str, str], NoOption("--maestro, --soundfont, --note-bank and each encoder's --<encoder>-weights fill it")
]
"""Paths on this machine where they differ from the plan's: "maestro", "soundfont", "note-bank", "weights/<encoder>"."""


@dataclass(frozen=True)
class PlanConfig:
    """Everything that `keybed plan` can be asked."""

    maestro: Annotated[
        Path,
        Option(
            "a folder in MAESTRO v3's layout or its CSV, or other music (docs/corpus.md)",
            metavar="MUSIC",
            positional=True,
        ),
    ]
    store: Annotated[Path, Option("folder of the store to make", metavar="STORE", positional=True)]
    layout: Annotated[
        str | None, Option("how the music lies there; without it what the folder shows", choices=LAYOUTS)
    ] = None
    columns: Annotated[
        tuple[str, ...] | None,
        Option("columns of a CSV with other names: midi_filename=file,title=work", metavar="FIELD=COLUMN,…"),
    ] = None
    pieces: Annotated[
        Literal["folder", "file"] | None,
        Option("in a folder of MIDI files: the files of one folder are one piece, or each file name is"),
    ] = None
    labels: Annotated[
        Path | None,
        Option("ratings by people instead of degradation: a CSV, or PercePiano's folder labels/", metavar="FILE"),
    ] = None
    labels_columns: Annotated[
        tuple[str, ...] | None,
        Option("what its columns hold: file=path,note_accuracy=notes", metavar="NAME=COLUMN,…"),
    ] = None
    label_scale: Annotated[
        tuple[str, ...] | None, Option("the worst rating and the best, such as 1,7", metavar="WORST,BEST")
    ] = None
    limit: Annotated[int | None, Option("at most this many segments, spread over splits and pieces")] = None
    encoders: Annotated[
        tuple[str, ...],
        Option(
            "of mert, midibert, muq, aria, transkun, transcribed, logmel and expressive; the last two need no weights"
        ),
    ] = BASELINES
    weights: Annotated[Mapping[str, str], NoOption("each encoder's --<encoder>-weights and --weights fill it")] = field(
        default_factory=dict
    )
    """Encoder -> hub id, local folder, or "random"; the encoder's own default where it is not named."""
    revisions: Annotated[Mapping[str, str], NoOption("--<encoder>-revision fills it")] = field(default_factory=dict)
    profile: Annotated[
        str,
        Option(
            "how each row's eight scores are drawn: mixed draws each by itself, tiered all from the row's tier",
            choices=("mixed", "tiered"),
        ),
    ] = "mixed"
    seed: Annotated[int, Option("seed of the row order and of every degradation", least=0)] = 0
    audio: Annotated[
        Literal["rendered", "recorded"], Option("rendered: from the degraded MIDI; recorded: from MAESTRO's WAV files")
    ] = "rendered"
    soundfont: Annotated[
        Path | None,
        Option(
            "an .sf2 or .sf3 file, or several with commas, of which each segment draws one; without it the one that ships "
            "with pretty_midi",
            metavar="A.sf2,B.sf2",
        ),
    ] = None
    rooms: Annotated[
        int | None,
        Option(
            "number of rooms with a microphone, of which each segment draws one; without it the dry sound of the soundfont"
        ),
    ] = None
    hold_out_soundfont: Annotated[
        str | None,
        Option("of several soundfonts, one (its file name) that no training segment draws", metavar="B.sf2"),
    ] = None
    renderer: Annotated[
        Literal["bank", "fluidsynth"],
        Option(
            "bank: rows are sums of notes that FluidSynth rendered once; fluidsynth: it plays every row, 8 times slower"
        ),
    ] = "bank"
    window_s: Annotated[float, Option("length of a segment in seconds", flag="--window", metavar="S")] = WINDOW_S
    hop_s: Annotated[float, Option("seconds from one segment's start to the next", flag="--hop", metavar="S")] = HOP_S
    n_bins: Annotated[int, Option("bins: cells of the time grid of a segment", flag="--bins")] = 20
    shard_rows: Annotated[
        int | None,
        Option("rows per shard; without it the largest power of two from 32 to 1024 that gives at least 8 shards"),
    ] = None
    compute_dtype: Annotated[
        str,
        Option(
            "arithmetic of the encoders with weights; bfloat16 is about twice as fast where the processor has it",
            flag="--dtype",
            choices=("float32", "bfloat16"),
        ),
    ] = "float32"
    threads: Annotated[int, Option("CPU threads per encoder; part of the recipe, because sums depend on them")] = 2
    jobs: Annotated[int | None, Option("processes that read MIDI; without it one per core")] = None
    metadata_only: Annotated[bool, Option("with --dry-run: count from the CSV alone, without the files")] = False
    check_disk_space: Annotated[bool, Option("plan even where the disk looks too small", flag="--no-room-check")] = True
    cores_per_task: Annotated[int, Option("cores per task, for the estimate")] = 16
    task_hours: Annotated[float, Option("longest time of a task in hours, for the proposed number of tasks")] = 2.0
    rates: Annotated[Mapping[str, float], NoOption("--rate fills it")] = field(default_factory=dict)
    """Rows per second that somebody measured, for the estimate: `render`, an encoder's name (both per core), `gpu:` before it."""

    @property
    def soundfonts(self) -> tuple[Path, ...]:
        """The soundfonts asked for, none for the default. A comma separates two, unless a file has it in its name."""
        return soundfont_paths(self.soundfont)


@dataclass(frozen=True)
class JoinConfig:
    """Everything that `keybed join` can be asked."""

    stores: Annotated[
        tuple[Path, ...], Option("filled stores of one recipe, two or more", metavar="STORE", positional=True)
    ]
    out: Annotated[Path, Option("folder of the store to make", metavar="STORE")]


@dataclass(frozen=True)
class ExtendConfig:
    """Everything that `keybed extend` can be asked. Windows and bins are the store's own."""

    store: StoreFolder
    encoders: Annotated[tuple[str, ...], Option("encoders to add, such as muq,expressive; see `keybed plan --help`")]
    weights: Annotated[Mapping[str, str], NoOption("each encoder's --<encoder>-weights and --weights fill it")] = field(
        default_factory=dict
    )
    """As in `PlanConfig`."""
    dry_run: Annotated[bool, Option("count and estimate, write nothing")] = False
    revisions: Annotated[Mapping[str, str], NoOption("--<encoder>-revision fills it")] = field(default_factory=dict)
    compute_dtype: Annotated[
        str,
        Option(
            "arithmetic of the encoders with weights; bfloat16 is about twice as fast where the processor has it",
            flag="--dtype",
            choices=("float32", "bfloat16"),
        ),
    ] = "float32"
    threads: Annotated[int, Option("CPU threads per encoder; part of its settings, because sums depend on them")] = 2
    check_disk_space: Annotated[bool, Option("extend even where the disk looks too small", flag="--no-room-check")] = (
        True
    )
    cores_per_task: Annotated[int, Option("cores per task, for the estimate")] = 16
    task_hours: Annotated[float, Option("longest time of a task in hours, for the proposed number of tasks")] = 2.0
    rates: Annotated[Mapping[str, float], NoOption("--rate fills it")] = field(default_factory=dict)


@dataclass(frozen=True)
class ExpectConfig:
    """Everything that `keybed expect` can be asked."""

    store: StoreFolder
    out: Annotated[Path, Option("the file of the models to write", metavar="FILE.npz")]
    groups: Annotated[
        int, Option("groups of pieces; each is judged by a model that was fitted to the others", least=2)
    ] = 5
    windows: Annotated[int, Option("fit to at most this many undegraded windows, drawn evenly over the pieces")] = 6_000
    seed: Annotated[int, Option("seed of the fit", least=0)] = 0


@dataclass(frozen=True)
class ExtractConfig:
    """Everything that `keybed extract` can be asked. None of it changes a number in the store."""

    store: StoreFolder
    task: Annotated[int, Option("number of this task in the array, from 0", metavar="I", least=0)] = 0
    tasks: Annotated[int, Option("number of tasks in the array", metavar="K")] = 1
    shards: Annotated[tuple[int, ...] | None, Option("these shards instead of a task's share, such as 3,17-19")] = None
    layers: Annotated[
        tuple[str, ...] | None,
        Option(
            "make only these encoders, such as muq; without it all that is missing. Encoders of the plan are made together",
            flag="--layer",
            metavar="NAME",
        ),
    ] = None
    allow_drift: Annotated[
        bool,
        Option(
            "add an encoder though the audio made here differs by rounding from that of the rows; commits record it"
        ),
    ] = False
    scratch: Annotated[
        Path | None, Option("a folder on a local disk for waveforms; without it they stay in memory")
    ] = None
    workers: Annotated[
        int | None,
        Option("processes that degrade and render; without it one per core, 0: all work in this process", least=0),
    ] = None
    paths: MachinePaths = field(default_factory=dict)


@dataclass(frozen=True)
class ExportConfig:
    """Everything that `keybed export` can be asked."""

    store: StoreFolder
    out: Annotated[Path, Option("the archive to write", metavar="OUT.tar.gz", positional=True)]
    limit: Annotated[
        int | None, Option("at most this many rows, whole segments taken evenly from the store's random order")
    ] = None
    tiers: Annotated[tuple[str, ...] | None, Option("only these tiers, such as pristine,poor", flag="--tier")] = None
    audio_format: Annotated[Literal["flac", "wav"], Option("format of the sound files")] = "flac"
    renderer: Annotated[
        Literal["planned", "both"],
        Option("both: also what FluidSynth plays in place of the note bank, to compare by ear"),
    ] = "planned"
    workers: Annotated[int | None, Option("processes that render; without it one per core, 0: none", least=0)] = None
    paths: MachinePaths = field(default_factory=dict)
