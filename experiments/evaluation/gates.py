"""Gates: each criterion with value, interval, threshold, outcome and arithmetic, and the hashes of the files under it.

`gate.json` holds the sha256 of the files that its numbers came from. A later phase reads the gate of the run before it and
checks those hashes. It goes on only after GO, or with an override: a reason that every later report shows.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from keybed.experiments.data.json_codec import from_json, plain
from keybed.experiments.evaluation.intervals import Interval, finite
from keybed.store.counted import counted
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
"""The plan's advice after a NO-GO, word for word."""


class GateRefused(KeybedError):
    """The run before this one has no valid GO, and no override was given."""


class ChainBroken(KeybedError):
    """A file that a gate rests on has changed since the gate was written."""


@dataclass(frozen=True)
class Criterion:
    """One requirement. required false: it is shown and counts in no verdict."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    threshold: str
    outcome: Outcome
    arithmetic: str
    required: bool = True

    @property
    def bound(self) -> float:
        """The number in `threshold`, e.g. 0.1 of "≥ 0.1, lower bound > 0"."""
        number = re.match(r"[≥>≤<] ([\d.]+)", self.threshold)
        if number is None:
            raise ValueError(f"criterion {self.name!r}: no number in its threshold {self.threshold!r}")
        return float(number[1])


NO_RUN = "absent"
"""The verdict in an override where no run of the phase before was named."""


@dataclass(frozen=True)
class Override:
    """A person's decision to go on against a gate, or without one (verdict NO_RUN)."""

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

    def criterion(self, name: str) -> Criterion:
        """The criterion of this name (see `criterion_names`). Raises KeyError where the gate has none."""
        for c in (*self.criteria, *self.literal):
            if c.name == name:
                return c
        raise KeyError(f"the gate of Phase {self.phase} has no criterion {name!r}")


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
    """NO-GO if a required criterion fails, else UNDEFINED if one is undefined, else GO.

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

    literal_only (a tiered store): all dimensions follow the tier there, so only the plan's literal verdict is given. It
    never becomes a GO: a later phase needs a recorded override.
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
        headline = (
            "The one criterion holds."
            if len(required) == 1
            else f"All {counted(len(required), 'criterion', 'criteria')} hold."
        )
    else:
        parts = [f"fails: {', '.join(failed)}"] if failed else []
        parts += [f"undefined: {', '.join(unknown)}"] if unknown else []
        n_holding = len(required) - len(failed) - len(unknown)
        verb = "holds" if 1 in (n_holding, len(required)) else "hold"
        headline = f"{n_holding} of {counted(len(required), 'criterion', 'criteria')} {verb}; {'; '.join(parts)}."
    advice = None if verdict == "GO" else ADVICE[phase]
    return Gate(
        phase, verdict, headline, tuple(criteria), tuple(literal), literal_verdict, advice, rests_on, tuple(overrides)
    )


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def checksums(run: Path, store_fingerprint: str, names: Sequence[str]) -> dict[str, str]:
    """`rests_on` of a gate: the store's fingerprint and the sha256 of these files of the run."""
    return {"store": store_fingerprint} | {name: sha256_of(run / name) for name in names}


def write_gate(run: Path, gate: Gate) -> Path:
    """Write RUN/gate.json, replacing it in one step."""
    path = run / "gate.json"
    text = json.dumps(plain(gate), indent=2, ensure_ascii=False, allow_nan=False)
    with replace_file(path) as file:
        file.write((text + "\n").encode())
    return path


def read_gate(run: Path) -> Gate:
    """Inverse of `write_gate`. Raises GateRefused where the run has none, JsonMismatch where it is another file."""
    path = run / "gate.json"
    if not path.is_file():
        raise GateRefused(f"{path} is absent: {run} has not finished; run its phase again")
    return from_json(Gate, json.loads(path.read_text(encoding="utf-8")), path)


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
        now = store_fingerprint if name == "store" else sha256_of(run / name) if (run / name).is_file() else "absent"
        if now != digest:
            what = "the store's recipe" if name == "store" else str(run / name)
            raise ChainBroken(
                f"{what} is not what {run / 'gate.json'} rests on ({digest[:12]}… | {now[:12]}…); run Phase {phase} again"
            )
    if gate.verdict == "GO":
        return gate, gate.overrides
    if override is None or not override.strip():
        raise GateRefused(
            f"Phase {phase} in {run} says {gate.verdict}: {gate.headline} {gate.advice} "
            'To go on all the same, record why: --override "reason"'
        )
    return gate, (*gate.overrides, Override(phase, gate.verdict, override.strip(), run.name))
