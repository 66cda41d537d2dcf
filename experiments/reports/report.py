"""Reports: results.json and gate.json become one self-contained page, light and readable on a phone.

    keybed report RUN

renders a finished run again without computing anything. Examples that have no sound yet are made from the store that the run
names (RUN/places.json), where it still lies there; with `--store STORE` all of them are made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from keybed.experiments.data.run_folder import read_paths
from keybed.experiments.evaluation.curve_results import CurveResults
from keybed.experiments.evaluation.gate_chain import check_file
from keybed.experiments.evaluation.gates import Gate, read_gate
from keybed.experiments.evaluation.phase2_results import Phase2Results
from keybed.experiments.evaluation.phase3_results import Phase3Results
from keybed.experiments.evaluation.rating_results import RatingRunResults
from keybed.experiments.evaluation.window_results import WindowCheckResults
from keybed.experiments.hearing.examples import Examples, make_examples, read_examples
from keybed.experiments.reports import curve_page, phase2_page, phase3_page, phase4_page, rating_page, window_page
from keybed.experiments.reports.audio_source import sound_banner
from keybed.experiments.reports.examples_section import SCRIPT, STYLE, examples_section
from keybed.experiments.reports.page import Banner, Page, override_banners, write_page
from keybed.experiments.reports.results import RunResults, read_any_results
from keybed.extract.degrade.parameters import traces_of
from keybed.store.counted import counted
from keybed.store.errors import KeybedError, StoreError
from keybed.store.format.vocabulary import RATED
from keybed.store.read.opening import open_store
from keybed.store.read.store import Store

TITLES = {
    2: "fusion of audio and MIDI against either alone",
    3: "alignment of audio and MIDI embeddings",
    4: "full training of the best fusion",
}

RATING_TITLE = "heads on ratings by people"


class NoExamples(KeybedError):
    """A store was named for a run whose report has no examples."""


class OtherStore(KeybedError):
    """The store that was named is not the one of the run."""


def render(run: Path, store: Store | None = None, paths: Mapping[str, str] | None = None) -> Path:
    """RUN/results.json and gate.json -> RUN/report.html. store: the run's own, from which its examples are made (again).

    paths: where files of the store's sound lie on this machine. Raises NothingToReport for a run without a page, ChainBroken
    and GateAltered where the files do not belong together, OtherStore, NoExamples.
    """
    results = read_any_results(run)
    if isinstance(results, WindowCheckResults | CurveResults):
        return _render_without_gate(results, run)
    if store is not None and store.fingerprint != results.store.fingerprint:
        raise OtherStore(
            f"{store.path} is not the store of {run}; give the one with fingerprint {results.store.fingerprint[:16]}…"
        )
    rated = isinstance(results, RatingRunResults)
    if store is not None and rated:
        raise NoExamples(
            f"{run} was trained on ratings: no row is degraded, so its report has no examples to hear; run it without --store"
        )
    examples = _examples(run, results, store, paths)
    gate = read_gate(run)
    check_file(run, gate, "results.json")
    if isinstance(results, Phase2Results):
        lead, below, sections = phase2_page.parts(results, gate)
    elif isinstance(results, RatingRunResults):
        lead, below, sections = rating_page.parts(results, gate)
    elif isinstance(results, Phase3Results):
        lead, below, sections = phase3_page.parts(results, gate)
    else:
        lead, below, sections = phase4_page.parts(results, gate)
    literal_alone = gate.verdict == "UNDEFINED" and results.store.tiered
    page = Page(
        title=f"Keybed · Phase {gate.phase} · {RATING_TITLE if rated else TITLES[gate.phase]}",
        verdict=gate.verdict,
        word=f"{gate.literal_verdict} (literal)" if literal_alone else gate.verdict,
        lead=lead,
        below=below,
        advice=gate.advice,
        banners=[*override_banners(gate.overrides), *banners(results)],
        sections=sections if rated else [*sections[:-1], examples_section(examples), sections[-1]],
        footer=footer(results),
        notice=notice(results),
        style=STYLE,
        script=SCRIPT,
    )
    return write_page(page, run / "report.html")


def _examples(run: Path, results: RunResults, store: Store | None, paths: Mapping[str, str] | None) -> Examples | None:
    """From `store` where it is given; else those of RUN/examples.json; where they have no sound, from the run's own store."""
    if store is not None:
        return make_examples(run, store, paths)
    kept = read_examples(run)
    if isinstance(results, RatingRunResults) or (kept is not None and not kept.problem):
        return kept
    own = _own_store(run, results)
    return kept if own is None else make_examples(run, own, paths)


def _own_store(run: Path, results: RunResults) -> Store | None:
    """The store that the run names, if it still lies there and is the same."""
    named = read_paths(run).get("store")
    if named is None:
        return None
    try:
        store = open_store(Path(named))
    except (StoreError, OSError):
        return None  # moved, or half copied: the page says how to name it
    return store if store.fingerprint == results.store.fingerprint else None


def show_gate(run: Path, gate: Gate, store: Store, console: Console) -> Path:
    """Write the report, and print the verdict and the report's path."""
    report = render(run, store)
    console.print(f"Phase {gate.phase}: {gate.verdict}. {gate.headline}")
    console.print(f"report: {report}", soft_wrap=True)
    return report


def _render_without_gate(results: WindowCheckResults | CurveResults, run: Path) -> Path:
    """A page without a gate: window lengths and training sizes alone decide nothing."""
    if isinstance(results, CurveResults):
        title, (lead, below, sections) = "learning curve · specific r by training data", curve_page.parts(results)
    else:
        title, (lead, below, sections) = (
            "window check · mean specific r by window length",
            window_page.parts(results),
        )
    page = Page(
        title=f"Keybed · {title}",
        verdict="UNDEFINED",
        word=results.word,
        lead=lead,
        below=below,
        advice=None,
        banners=banners(results),
        sections=sections,
        footer=footer(results),
        notice=notice(results),
    )
    return write_page(page, run / "report.html")


COMPOSED = (
    "This music was composed and performed by a program, for the demo. NO-GO is expected: a few rows of such music show that every step "
    "works, not how well models judge playing."
)


def notice(results: RunResults) -> str:
    """What a reader must know before the verdict: on the demo's music it means nothing."""
    return COMPOSED if results.store.composed else ""


def banners(results: RunResults) -> list[Banner]:
    """Warnings above all numbers: random weights, a tiered store, the source of the audio, rows that could not be made."""
    store, warnings = results.store, []
    random = [e.name for e in store.encoders if e.random and e.name in (results.pair.audio, results.pair.midi)]
    if random:
        warnings.append(
            Banner(
                f"{' and '.join(random)} ran with seeded random weights instead of trained ones. The pipeline is real; these "
                "numbers say nothing about the encoder. Do not base a decision on them.",
                "Random weights.",
                True,
            )
        )
    if store.tiered:
        warnings.append(
            Banner(
                "In a tiered store every dimension of a row has the row's tier (quality band). The dimensions are nearly one "
                "number, so a detector of degradation scores well on rhythm too. Only the plan’s literal verdict applies; "
                "compare it with what the tier alone reaches.",
                "Tiered store.",
                True,
            )
        )
    if traces := traces_of(store.degradation_version):
        warnings.append(Banner(f"{traces[0].upper()}{traces[1:]}.", "Old degradation."))
    warnings.append(sound_banner(store.audio_source, rated=store.profile == RATED))
    lost = {name: n for name, n in store.status.items() if name != "OK"}
    if lost:
        words = ", ".join(f"{n} {name.lower().replace('_', ' ')}" for name, n in lost.items())
        warnings.append(
            Banner(f"Rows that could not be made and are left out: {words} (of {counted(store.n_rows, 'row')}).")
        )
    return warnings


def _epochs(budget: Mapping[str, Any]) -> str:
    """How long heads were trained; several lengths where each fold's validation rows chose."""
    tried = sorted({n for by_fold in budget.get("epochs_by_fold", {}).values() for n in by_fold})
    *fewer, most = tried or [budget["epochs"]]
    text = " or ".join([*map(str, fewer), counted(most, "epoch")])
    return f"{text}, as each fold's validation rows chose" if fewer else text


def footer(results: RunResults) -> list[str]:
    """Store, machine, training settings, and how intervals were made."""
    store, machine = results.store, results.machine
    lines = [
        f"Store {store.fingerprint[:16]}… · {counted(store.n_rows, 'row')} · profile {store.profile} · encoders "
        + ", ".join(f"{e.name} ({e.source})" for e in store.encoders),
        f"{machine.system} {machine.processor}, {'' if machine.cores is None else counted(machine.cores, 'core') + ', '}Python {machine.python} · {results.seconds} s",
    ]
    if not isinstance(results, WindowCheckResults | CurveResults):
        budget = results.budget
        lines.append(
            f"{_epochs(budget)}, {counted(len(budget['seeds']), 'seed')}, batches of {counted(budget['batch_rows'], 'row')}, "
            f"learning rate {budget['learning_rate']:g}"
        )
    files = "results.json" if isinstance(results, WindowCheckResults | CurveResults) else "results.json and gate.json"
    lines.append(
        f"Intervals: 95 %, expanded BCa bootstrap over pieces and seeds together. The same numbers are in {files}."
    )
    return lines
