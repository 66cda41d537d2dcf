"""What each phase, `compare`, `window-check` and `demo` can be asked. Imports nothing heavy: the command line reads it for help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from keybed.store.option import Option

StoreFolder = Annotated[Path, Option("folder of the store", metavar="STORE", positional=True)]
RunFolder = Annotated[Path, Option("folder of the run", metavar="RUN")]
Override = Annotated[
    str | None,
    Option("go on although that run's gate is not GO; every later report shows the reason", metavar="REASON"),
]
AudioEncoder = Annotated[str | None, Option("audio encoder; without it one with trained weights, else logmel")]
MidiEncoder = Annotated[str | None, Option("MIDI encoder; without it one with trained weights, else expressive")]
Epochs = Annotated[int, Option("epochs of training")]
EpochsBySteps = Annotated[
    int | None, Option("epochs of training; without it 5, or up to 15 where 5 are fewer than 750 steps")
]
Seeds = Annotated[int, Option("seeds of every head")]
Hidden = Annotated[int, Option("hidden width of the heads")]
PoolingOfBins = Annotated[
    Literal["mean", "statistics"],
    Option("what heads keep of the bins: their weighted mean, or mean and standard deviation (statistics)"),
]
WeightDecay = Annotated[
    float | None,
    Option("AdamW's weight decay; without it, a weight that has no gradient shrinks to 1/e in the whole fit"),
]
Folds = Annotated[int, Option("folds over all pieces where the test split has fewer than 20 pieces")]
LearningRate = Annotated[float, Option("AdamW's peak learning rate")]
Log = Annotated[
    Literal["tensorboard", "wandb"] | None,
    Option("also write losses, validation and the gate there: event files in RUN, or Weights & Biases"),
]
MemoryGib = Annotated[
    float, Option("features up to this size (GiB) are held in memory, larger ones streamed from disk")
]


@dataclass(frozen=True)
class Phase2Config:
    """All of Phase 2's choices. audio, midi None: the first pair with trained weights, else the baselines."""

    store: StoreFolder
    out: RunFolder
    audio: AudioEncoder = None
    midi: MidiEncoder = None
    view: Annotated[str, Option("frames, layers, or a derived view such as pca128 or pooled")] = "frames"
    epochs: EpochsBySteps = None
    seeds: Seeds = 5
    hidden: Hidden = 128
    pooling: PoolingOfBins = "statistics"
    batch_rows: Annotated[int | None, Option("rows of a training batch; without it by the store's size")] = None
    learning_rate: LearningRate = 3e-3
    weight_decay: WeightDecay = None
    folds: Folds = 5
    memory_gib: MemoryGib = 4.0
    log: Log = None


@dataclass(frozen=True)
class Phase3Config:
    """All of Phase 3's choices. override: why to go on although Phase 2's gate is not GO."""

    store: StoreFolder
    after: Annotated[Path, Option("the Phase 2 run whose gate allows this", metavar="RUN")]
    out: RunFolder
    override: Override = None
    epochs: Epochs = 15
    batch_rows: Annotated[
        int | None,
        Option("rows of a contrastive batch; without it 128, or 64 where 128 leave under 20 steps per epoch"),
    ] = None
    width: Annotated[int, Option("width of the shared space")] = 128
    hidden: Annotated[int, Option("hidden width of the projection heads")] = 256
    temperature: Annotated[float, Option("InfoNCE temperature at the start")] = 0.07
    learning_rate: LearningRate = 1e-3
    local: Annotated[
        bool, Option("add InfoNCE between time bins, with the same bin of other variants as negatives")
    ] = False
    hard_negatives: Annotated[bool, Option("weigh hard negatives more in InfoNCE (beta 0.15)")] = False
    codebook: Annotated[
        int, Option("make clip vectors of K common codewords, such as 256; 0 for no codebook", metavar="K", least=0)
    ] = 0
    tokens: Annotated[bool, Option("read the bins through 5 shared and 5 private tokens; shared ones are aligned")] = (
        False
    )
    mismatch: Annotated[bool, Option("train a detector of notes that belong to another variant")] = False
    blockwise: Annotated[bool, Option("add one InfoNCE per hidden state of the encoders")] = False
    quality: Annotated[bool, Option("add a linear prediction of the scores from the projections")] = False
    ablations: Annotated[bool, Option("also train each of these terms alone and report all beside InfoNCE alone")] = (
        False
    )
    ablation_seeds: Annotated[int, Option("seeds of each line of that table")] = 2
    ablation_folds: Annotated[
        int | None, Option("folds of that table, from the first; without it all", metavar="N")
    ] = None
    memory_gib: MemoryGib = 4.0
    log: Log = None


@dataclass(frozen=True)
class Phase4Config:
    """All of Phase 4's choices. override: why to go on although Phase 3's gate is not GO."""

    store: StoreFolder
    after: Annotated[Path, Option("the Phase 3 run whose gate allows this", metavar="RUN")]
    out: RunFolder
    override: Override = None
    epochs: Annotated[
        int | None,
        Option(
            "epochs of training; without it 20, or as many as Phase 2 where validation rows say that fewer are better"
        ),
    ] = None
    seeds: Seeds = 5
    ablations: Annotated[bool, Option("leave the ablations out")] = True
    memory_gib: MemoryGib = 4.0
    log: Log = None


@dataclass(frozen=True)
class CompareConfig:
    """Finished runs of Phase 2, 3 or 4 on one store."""

    runs: Annotated[tuple[Path, ...], Option("folders of finished runs", metavar="RUN", positional=True)]
    out: Annotated[Path | None, Option("folder for results.json and report.html", metavar="DIR")] = None


@dataclass(frozen=True)
class WindowCheckConfig:
    """Stores of one corpus and one degradation, with different windows."""

    stores: Annotated[tuple[Path, ...], Option("folders of the stores", metavar="STORE", positional=True)]
    out: RunFolder
    audio: AudioEncoder = None
    midi: MidiEncoder = None
    epochs: EpochsBySteps = None
    seeds: Seeds = 3
    hidden: Hidden = 128
    folds: Folds = 5
    memory_gib: MemoryGib = 4.0


@dataclass(frozen=True)
class DemoConfig:
    """Everything that `keybed demo` can be asked."""

    out: Annotated[Path, Option("folder for everything that the demo makes")] = Path("demo-run")
    maestro: Annotated[Path | None, Option("a MAESTRO folder instead of the composed corpus", metavar="DIR")] = None
    rows: Annotated[int, Option("rows of the store, four per segment")] = 96
    seed: Annotated[int, Option("seed of the corpus, the plan and the heads", least=0)] = 0
