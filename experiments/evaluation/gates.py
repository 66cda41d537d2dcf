"""Gates as data: each criterion with its value, interval, threshold, verdict and arithmetic, and what it all rests on.

`gate.json` carries the sha256 of the files that its numbers came from. A later phase reads the gate of the run before
it, checks those hashes, and goes on only on GO or with an override that is recorded with its reason and shown in every
report after it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from keybed.experiments.evaluation.intervals import Interval, finite
from keybed.store.disk.durable import replace_file
from keybed.store.errors import KeybedError

Outcome = Literal["pass", "fail", "undefined"]
Verdict = Literal["GO", "NO-GO", "UNDEFINED"]

ADVICE = {
    2: "Debug the fusion architecture, try simpler fusion, don't proceed to Phase 3.",
    3: "Investigate the alignment failure, don't proceed to Phase 4.",
    4: "Don't invest in expert annotation, reassess the approach.",
    5: "Identify which dimensions need full expert annotation and which can use synthetic labels.",
}
"""The plan's own words for a gate that says NO-GO."""


class GateRefused(KeybedError):
    """The run before this one has no valid GO, and no override was given."""


class ChainBroken(KeybedError):
    """A file that a gate rests on has changed since the gate was written."""


@dataclass(frozen=True)
class Criterion:
    """One requirement. `required` false means that it is shown and counts in no verdict."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    threshold: str
    outcome: Outcome
    arithmetic: str
    required: bool = True


@dataclass(frozen=True)
class Override:
    """A person's decision to go on against a gate."""

    phase: int
    verdict: str
    reason: str
    run: str


@dataclass(frozen=True)
class Gate:
    """A phase's verdict. rests_on maps file names (relative to the run) and "store" to sha256 digests."""

    phase: int
    verdict: Verdict
    headline: str
    criteria: tuple[Criterion, ...]
    literal: tuple[Criterion, ...]
    literal_verdict: Verdict
    advice: str | None
    rests_on: dict[str, str]
    overrides: tuple[Override, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `read_gate` is the inverse."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), allow_nan=False))
        return plain


def at_least(
    name: str, interval: Interval, threshold: float, arithmetic: str, *, above_zero: bool = False, required: bool = True
) -> Criterion:
    """value ≥ threshold; with above_zero also the interval's lower bound > 0. NaN is undefined."""
    words = f"≥ {threshold:g}" + (", lower bound > 0" if above_zero else "")
    outcome: Outcome
    if finite(interval.value) is None or (above_zero and finite(interval.low) is None):
        outcome = "undefined"
    else:
        outcome = "pass" if interval.value >= threshold and (interval.above_zero or not above_zero) else "fail"
    return Criterion(
        name, finite(interval.value), finite(interval.low), finite(interval.high), words, outcome, arithmetic, required
    )


def above_zero(name: str, interval: Interval, arithmetic: str, *, required: bool = True) -> Criterion:
    """The whole interval above zero."""
    defined = finite(interval.value) is not None and finite(interval.low) is not None
    outcome: Outcome = ("pass" if interval.above_zero else "fail") if defined else "undefined"
    value, low, high = finite(interval.value), finite(interval.low), finite(interval.high)
    return Criterion(name, value, low, high, "lower bound > 0", outcome, arithmetic, required)


def more_than(name: str, interval: Interval, threshold: float, arithmetic: str, *, required: bool = True) -> Criterion:
    """value > threshold, as the plan writes its later targets."""
    value = finite(interval.value)
    outcome: Outcome = "undefined" if value is None else ("pass" if value > threshold else "fail")
    low, high = finite(interval.low), finite(interval.high)
    return Criterion(name, value, low, high, f"> {threshold:g}", outcome, arithmetic, required)


def below(name: str, interval: Interval, threshold: float, arithmetic: str, *, required: bool = True) -> Criterion:
    """value < threshold."""
    value = finite(interval.value)
    outcome: Outcome = "undefined" if value is None else ("pass" if value < threshold else "fail")
    low, high = finite(interval.low), finite(interval.high)
    return Criterion(name, value, low, high, f"< {threshold:g}", outcome, arithmetic, required)


def verdict_of(criteria: Sequence[Criterion]) -> Verdict:
    """NO-GO if a required criterion fails, else UNDEFINED if one cannot be judged, else GO.

    Raises ValueError where nothing is required: an empty gate is no GO.
    """
    outcomes = [c.outcome for c in criteria if c.required]
    if not outcomes:
        raise ValueError("a gate without required criteria says nothing")
    if "fail" in outcomes:
        return "NO-GO"
    return "UNDEFINED" if "undefined" in outcomes else "GO"


def make_gate(
    phase: int,
    criteria: Sequence[Criterion],
    literal: Sequence[Criterion],
    rests_on: dict[str, str],
    *,
    overrides: Sequence[Override] = (),
    literal_only: bool = False,
) -> Gate:
    """The gate of one phase.

    literal_only (a tiered store): the dimensions are one number there, so the plan's literal verdict is the only one;
    it never becomes a GO of its own, and a later phase accepts it by a recorded override alone.
    """
    literal_verdict = verdict_of(literal)
    verdict: Verdict = "UNDEFINED" if literal_only else verdict_of(criteria)
    required = [c for c in criteria if c.required]
    failed = [c.name for c in required if c.outcome == "fail"]
    unknown = [c.name for c in required if c.outcome == "undefined"]
    if literal_only:
        headline = (
            f"Only the plan's literal arithmetic applies to a tiered store: {literal_verdict} (literal). Every dimension "
            "is the tier there, so a predictor that knows the tier alone passes too."
        )
    elif verdict == "GO":
        headline = f"All {len(required)} criteria hold."
    else:
        parts = [f"fails: {', '.join(failed)}"] if failed else []
        parts += [f"cannot be judged: {', '.join(unknown)}"] if unknown else []
        headline = f"{len(required) - len(failed) - len(unknown)} of {len(required)} criteria hold; {'; '.join(parts)}."
    advice = None if verdict == "GO" else ADVICE[phase]
    return Gate(
        phase, verdict, headline, tuple(criteria), tuple(literal), literal_verdict, advice, rests_on, tuple(overrides)
    )


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_gate(run: Path, gate: Gate) -> Path:
    """Write RUN/gate.json, replacing it in one step."""
    path = run / "gate.json"
    with replace_file(path) as file:
        file.write((json.dumps(gate.to_json(), indent=2, ensure_ascii=False) + "\n").encode())
    return path


def read_gate(run: Path) -> Gate:
    """Inverse of `write_gate`. Raises GateRefused where the run has none."""
    path = run / "gate.json"
    if not path.is_file():
        raise GateRefused(f"{path} is absent: {run} has not finished; run its phase again")
    data = json.loads(path.read_text(encoding="utf-8"))
    return Gate(
        phase=data["phase"],
        verdict=data["verdict"],
        headline=data["headline"],
        criteria=tuple(Criterion(**c) for c in data["criteria"]),
        literal=tuple(Criterion(**c) for c in data["literal"]),
        literal_verdict=data["literal_verdict"],
        advice=data["advice"],
        rests_on=data["rests_on"],
        overrides=tuple(Override(**o) for o in data["overrides"]),
    )


def check_chain(
    run: Path, phase: int, store_fingerprint: str, override: str | None
) -> tuple[Gate, tuple[Override, ...]]:
    """The gate of the run before this one, and every override that later reports must show.

    Raises ChainBroken where a file that the gate rests on has changed or the store is another one, and GateRefused where
    the gate is of another phase or does not say GO and `override` gives no reason.
    """
    gate = read_gate(run)
    if gate.phase != phase:
        raise GateRefused(f"{run} is a run of Phase {gate.phase}; this phase goes on from one of Phase {phase}")
    for name, digest in gate.rests_on.items():
        found = store_fingerprint if name == "store" else sha256_of(run / name) if (run / name).is_file() else "absent"
        if found != digest:
            what = "the store's recipe" if name == "store" else str(run / name)
            raise ChainBroken(
                f"{what} is not what {run / 'gate.json'} rests on ({digest[:12]}… | {found[:12]}…); run Phase {phase} again"
            )
    if gate.verdict == "GO":
        return gate, gate.overrides
    if override is None or not override.strip():
        raise GateRefused(
            f"Phase {phase} in {run} says {gate.verdict}: {gate.headline} {gate.advice} "
            'To go on all the same, record why: --override "reason"'
        )
    return gate, (*gate.overrides, Override(phase, gate.verdict, override.strip(), run.name))
