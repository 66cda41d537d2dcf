"""Gates: each criterion with value, interval, threshold, outcome and arithmetic, and the hashes of the files under it.

`gate.json` holds the sha256 of the files that its numbers came from. `read_gate` computes its outcomes and
verdict again from its criteria. A later phase also checks the hashes, and compares the criteria with those that follow from
results.json. It goes on only after GO, or with an override: a reason that every later report shows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, Literal

from keybed.experiments.data.json_codec import from_json, plain
from keybed.experiments.data.run_folder import check_version, read_json, write_json
from keybed.experiments.evaluation.criteria import Criterion
from keybed.store.counted import counted
from keybed.store.disk.durable import canonical
from keybed.store.errors import KeybedError

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


class GateAltered(KeybedError):
    """gate.json says what does not follow from its criteria, or its criteria do not follow from results.json."""


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
    """A phase's verdict. rests_on maps file names (relative to the run) and "store" to sha256 digests.

    gate.json also holds the sha256 of all that stands here.
    """

    JSON_PROPERTIES: ClassVar = ("sha256",)

    phase: int
    verdict: Verdict
    headline: str
    criteria: tuple[Criterion, ...]
    literal: tuple[Criterion, ...]
    literal_verdict: Verdict
    advice: str | None
    rests_on: dict[str, str]
    overrides: tuple[Override, ...] = ()

    @property
    def sha256(self) -> str:
        """Of the gate's fields as canonical JSON."""
        return hashlib.sha256(canonical({f.name: plain(getattr(self, f.name)) for f in fields(self)})).hexdigest()

    def criterion(self, name: str) -> Criterion:
        """The criterion of this name (see `criterion_names`). Raises KeyError where the gate has none."""
        for c in (*self.criteria, *self.literal):
            if c.name == name:
                return c
        raise KeyError(f"the gate of Phase {self.phase} has no criterion {name!r}")


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
    if literal_only:
        headline = (
            f"Only the plan's literal arithmetic applies to a tiered store: {literal_verdict} (literal). Every dimension "
            "is the tier there, so a predictor that knows the tier alone passes too."
        )
    else:
        headline = _headline([c for c in criteria if c.required])
    advice = None if verdict == "GO" else ADVICE[phase]
    return Gate(
        phase, verdict, headline, tuple(criteria), tuple(literal), literal_verdict, advice, rests_on, tuple(overrides)
    )


def _headline(required: Sequence[Criterion]) -> str:
    """How many criteria hold, and every one that does not, with each condition that it misses."""
    held = sum(c.outcome == "pass" for c in required)
    if held == len(required):
        return f"All {counted(held, 'criterion', 'criteria')} hold." if held > 1 else "The one criterion holds."
    verb = "holds" if 1 in (held, len(required)) else "hold"
    parts = [f"{held} of {counted(len(required), 'criterion', 'criteria')} {verb}."]
    for outcome, word in (("fail", "Fails"), ("undefined", "Undefined")):
        listed = [f"“{c.name}” ({c.why()})" for c in required if c.outcome == outcome]
        if listed:
            parts.append(f"{word}: {'; '.join(listed)}.")
    return " ".join(parts)


def write_gate(run: Path, gate: Gate) -> Path:
    """Write RUN/gate.json, replacing it in one step."""
    return write_json(run / "gate.json", gate)


def read_gate(run: Path) -> Gate:
    """Inverse of `write_gate`.

    Raises GateRefused where the run has none, NewerKeybed where a newer version wrote it, RunDamaged and JsonMismatch where it
    cannot be read, and GateAltered where an outcome or the verdict does not follow from the criteria or a checksum differs.
    """
    check_version(run)
    path = run / "gate.json"
    if not path.is_file():
        raise GateRefused(f"{path} is absent: {run} has not finished; run its phase again")
    data = read_json(path)
    gate = from_json(Gate, data, path)
    _check_outcomes(path, gate)
    if data.get("sha256", gate.sha256) != gate.sha256:
        raise GateAltered(f"{path}: its checksum is not that of its contents; {_again(gate)}")
    return gate


def _check_outcomes(path: Path, gate: Gate) -> None:
    for c in (*gate.criteria, *gate.literal):
        try:
            outcome = c.computed_outcome
        except ValueError as error:
            raise GateAltered(f"{path}: {error}; {_again(gate)}") from error
        if c.outcome != outcome:
            raise GateAltered(
                f"{path}: criterion “{c.name}” says {c.outcome}, but its value gives {c.asked(outcome=outcome)}; {_again(gate)}"
            )
    for stated, criteria, which in (
        (gate.verdict, gate.criteria, "verdict"),
        (gate.literal_verdict, gate.literal, "literal verdict"),
    ):
        try:
            follows = verdict_of(criteria)
        except ValueError as error:
            raise GateAltered(f"{path}: {error}; {_again(gate)}") from error
        # UNDEFINED stands above any criteria of a tiered store, and lets no phase go on
        if stated not in (follows, "UNDEFINED"):
            raise GateAltered(
                f"{path}: the {which} {stated} does not follow from its criteria, which give {follows}; {_again(gate)}"
            )


def _again(gate: Gate) -> str:
    return f"the file was changed, or another version of keybed wrote it: run Phase {gate.phase} again"


def check_criteria(run: Path, gate: Gate, expected: Gate) -> None:
    """Raise GateAltered unless the gate has the criteria and verdicts of `expected`, made again from RUN/results.json."""
    path = run / "gate.json"
    stated, derived = (
        {c.name: (c.threshold, c.value, c.low, c.high, c.outcome, c.required) for c in (*g.criteria, *g.literal)}
        for g in (gate, expected)
    )
    changed = [name for name in (*derived, *stated) if stated.get(name) != derived.get(name)]
    if changed:
        raise GateAltered(
            f"{path}: criterion “{changed[0]}” is not what {run / 'results.json'} gives "
            f"({_in_words(stated.get(changed[0]))} | {_in_words(derived.get(changed[0]))}); {_again(gate)}"
        )
    if (gate.verdict, gate.literal_verdict) != (expected.verdict, expected.literal_verdict):
        raise GateAltered(
            f"{path}: verdict {gate.verdict}, literal {gate.literal_verdict}; {run / 'results.json'} gives "
            f"{expected.verdict} and {expected.literal_verdict}; {_again(gate)}"
        )


def _in_words(criterion: tuple[object, ...] | None) -> str:
    if criterion is None:
        return "absent"
    threshold, value, _, _, outcome, _ = criterion
    return f"{value} for {threshold}: {outcome}"
