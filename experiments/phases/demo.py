"""The demo: compose a corpus without download, plan, extract with Transkun and the two baselines, run Phase 2.

    make demo            keybed demo --out demo-run --rows 96

The verdict is about `transkun`, whose trained weights `make` fetches, and `expressive`. Where the weights are absent, the
demo says so and takes `logmel` for audio.

Time: under 10 minutes on 2 cores at the default size, 2.5 s of it per row for Transkun. An interrupted demo continues where it
stopped.
"""

from __future__ import annotations

import time

from rich.console import Console
from rich.text import Text

from keybed.experiments.phases.config import DemoConfig, Phase2Config
from keybed.experiments.phases.phase2 import run_phase2
from keybed.extract.config import ExtractConfig, PlanConfig
from keybed.extract.demo.corpus import write_demo_corpus
from keybed.extract.encoders.errors import WeightsUnreachable
from keybed.extract.encoders.wheel import TRANSKUN, find
from keybed.extract.planning.plan import plan
from keybed.extract.progress import progress_bar
from keybed.extract.run.task import extract
from keybed.store.counted import counted
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import TIERS

BASELINES = ("logmel", "expressive")


def run_demo(config: DemoConfig, console: Console) -> int:
    """Run all of it; returns the exit status: 0, or 128 and the signal that stopped the extraction."""
    began = time.monotonic()
    if config.rows < len(TIERS):
        raise KeybedError(f"--rows {config.rows}: a segment alone has {counted(len(TIERS), 'row')}")
    try:
        config.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KeybedError(
            f"--out {config.out} cannot be written ({error.strerror or error}); give another folder"
        ) from error
    segments = config.rows // len(TIERS)
    name = f"{segments}-segments" if config.maestro is None else f"{config.maestro.resolve().name}-{segments}-segments"
    audio = _audio_encoder(console)
    store, run = config.out / f"store-{name}-{audio}", config.out / f"phase2-{name}-{audio}"
    if config.maestro is None:
        console.rule("1 of 4  a corpus in MAESTRO's layout")
        corpus = write_demo_corpus(config.out / "corpus", seed=config.seed)
        console.print(f"composed and performed: {corpus}")
    else:
        corpus = config.maestro
        console.rule(f"1 of 4  the corpus is {corpus}")
    console.rule("2 of 4  keybed plan")
    with progress_bar() as progress:
        report = plan(
            PlanConfig(
                maestro=corpus,
                store=store,
                limit=segments,
                encoders=BASELINES if audio in BASELINES else (audio, *BASELINES),
                seed=config.seed,
            ),
            progress,
        )
    console.print(report.lines()[0], highlight=False)
    console.rule("3 of 4  keybed extract")
    with progress_bar() as progress:
        extracted = extract(ExtractConfig(store=store), progress)
    for line in extracted.lines():
        console.print(line, highlight=False, markup=False)
    if extracted.stopped_by is not None:
        console.print("to go on with the demo, run the same command again")
        return 128 + extracted.stopped_by
    console.rule("4 of 4  keybed phase2")
    html = run_phase2(Phase2Config(store=store, out=run, audio=audio, midi="expressive"), console)
    console.rule()
    console.print(f"the whole demo: {time.monotonic() - began:.0f} s", highlight=False)
    console.print(Text.assemble("open ", (str(html.resolve()), "bold")), highlight=False)
    if config.maestro is None:
        console.print("NO-GO is the expected verdict: the music is composed by a program, and the rows are few.")
    console.print(
        "next: docs/tutorial.md goes on with this store; make demo MAESTRO=/path/to/maestro-v3.0.0 takes real music",
        highlight=False,
    )
    return 0


def _audio_encoder(console: Console) -> str:
    """Transkun where its weights are on this machine, else the baseline, after a sentence that says why."""
    try:
        find(TRANSKUN)
    except WeightsUnreachable as error:
        console.print(f"{error}. This demo goes on with logmel, which has no weights, in its place.", markup=False)
        return "logmel"
    return "transkun"
