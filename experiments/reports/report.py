"""Reports: results.json and gate.json become one self-contained page, light and readable on a phone.

    keybed report RUN

renders a finished run again without computing anything.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from keybed.experiments.data.run_folder import read_json
from keybed.experiments.evaluation.gates import Gate, read_gate
from keybed.experiments.reports import phase2_page, phase3_page, phase4_page, window_page
from keybed.experiments.reports.audio_source import sound_banner
from keybed.experiments.reports.page import Banner, Page, Section, override_banners, write_page
from keybed.store.errors import KeybedError

Json = Any


class NothingToReport(KeybedError):
    """The folder is a run of a kind that has no page."""


def render(run: Path) -> Path:
    """RUN/results.json and gate.json -> RUN/report.html."""
    results = read_json(run / "results.json")
    if results.get("phase") == "window check":
        return _render_window_check(results, run)
    gate = read_gate(run)
    writers: dict[int, Callable[[Json, Gate], tuple[list[str], list[str], list[Section]]]] = {
        2: phase2_page.parts,
        3: phase3_page.parts,
        4: phase4_page.parts,
    }
    if results.get("phase") not in writers:
        raise NothingToReport(f"{run / 'results.json'} is of phase {results.get('phase')!r}, which has no page")
    lead, below, sections = writers[results["phase"]](results, gate)
    page = Page(
        title=f"Keybed · Phase {gate.phase} · {results['title'] if 'title' in results else TITLES[gate.phase]}",
        verdict=gate.verdict,
        word=f"{gate.literal_verdict} (literal)" if gate.verdict == "UNDEFINED" and _tiered(results) else gate.verdict,
        lead=lead,
        below=below,
        advice=gate.advice,
        banners=[*override_banners(gate), *banners(results)],
        sections=sections,
        footer=footer(results),
    )
    return write_page(page, run / "report.html")


def _render_window_check(results: Json, run: Path) -> Path:
    """A page without a gate: nothing is decided on window lengths alone."""
    lead, below, sections = window_page.parts(results)
    page = Page(
        title="Keybed · window check · is context the bottleneck?",
        verdict="UNDEFINED",
        word=results["word"],
        lead=lead,
        below=below,
        advice=None,
        banners=banners(results),
        sections=sections,
        footer=footer(results),
    )
    return write_page(page, run / "report.html")


TITLES = {
    2: "does fusing sound and notes beat either alone?",
    3: "do sound and notes meet in one space?",
    4: "is the judge good enough to spend money on?",
}


def _tiered(results: Json) -> bool:
    return bool(results["store"]["profile"] == "tiered")


def banners(results: Json) -> list[Banner]:
    """What must be read before any number: random weights, a tiered store, where the audio came from, missing rows."""
    found = []
    used = {results["pair"]["audio"], results["pair"]["midi"]}
    random = [e["name"] for e in results["store"]["encoders"] if e["random"] and e["name"] in used]
    if random:
        found.append(
            Banner(
                f"{' and '.join(random)} ran with seeded noise instead of trained weights. The pipeline is real; these "
                "numbers say nothing about the encoder, and no decision may rest on them.",
                "Random weights.",
                True,
            )
        )
    if _tiered(results):
        found.append(
            Banner(
                "In a tiered store every dimension of a row is its tier, so the dimensions are nearly one number and a "
                "detector of degradation passes for a judge of rhythm. Only the plan’s literal verdict applies; read it "
                "beside the tier-only floor.",
                "Tiered store.",
                True,
            )
        )
    found.append(sound_banner(results["store"]["audio_source"]))
    lost = {name: n for name, n in results["store"]["status"].items() if name != "OK"}
    if lost:
        words = ", ".join(f"{n} {name.lower().replace('_', ' ')}" for name, n in lost.items())
        found.append(
            Banner(
                f"{sum(lost.values())} of {results['store']['n_rows']} rows could not be made and are left out: {words}."
            )
        )
    return found


def footer(results: Json) -> list[str]:
    """Where it came from and how it was run."""
    store, machine = results["store"], results["machine"]
    budget = results.get("budget", {})
    lines = [
        f"Store {store['fingerprint'][:16]}… · {store['n_rows']} rows · profile {store['profile']} · encoders "
        + ", ".join(f"{e['name']} ({e['source']})" for e in store["encoders"]),
        f"{machine['system']} {machine['processor']}, {machine['cores']} cores, Python {machine['python']} · {results['seconds']} s",
    ]
    if budget:
        lines.append(
            f"{budget['epochs']} epochs, {len(budget['seeds'])} seeds, batches of {budget['batch_rows']} rows, "
            f"learning rate {budget['learning_rate']:g}"
        )
    lines.append(
        "Intervals: 95 %, expanded BCa bootstrap over pieces and seeds together. The same numbers are in results.json and gate.json."
    )
    return lines
