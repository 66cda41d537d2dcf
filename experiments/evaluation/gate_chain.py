"""The chain of phases: a later one goes on after GO or with an override, on the very files that the gate rests on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from keybed.experiments.evaluation.gates import Gate, GateRefused, Override, read_gate
from keybed.store.disk.durable import sha256_of
from keybed.store.errors import KeybedError


class ChainBroken(KeybedError):
    """A file that a gate rests on has changed since the gate was written."""


def checksums(run: Path, store_fingerprint: str, names: Sequence[str]) -> dict[str, str]:
    """`rests_on` of a gate: the store's fingerprint and the sha256 of these files of the run."""
    return {"store": store_fingerprint} | {name: sha256_of(run / name) for name in names}


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
    if gate.rests_on.get("store") != store_fingerprint:
        raise _broken(run, gate, "store", "the store's recipe", store_fingerprint)
    for name in gate.rests_on:
        if name != "store":
            check_file(run, gate, name)
    if gate.verdict == "GO":
        return gate, gate.overrides
    if override is None or not override.strip():
        raise GateRefused(
            f"Phase {phase} in {run} says {gate.verdict}: {gate.headline} {gate.advice} "
            'To go on all the same, record why: --override "reason"'
        )
    return gate, (*gate.overrides, Override(phase, gate.verdict, override.strip(), run.name))


def check_file(run: Path, gate: Gate, name: str) -> None:
    """Raise ChainBroken unless a file of the run is the one that its gate rests on."""
    path = run / name
    now = sha256_of(path) if path.is_file() else "absent"
    if now != gate.rests_on.get(name):
        raise _broken(run, gate, name, str(path), now)


def _broken(run: Path, gate: Gate, name: str, what: str, now: str) -> ChainBroken:
    then = gate.rests_on.get(name, "nothing")
    return ChainBroken(
        f"{what} is not what {run / 'gate.json'} rests on ({then[:12]}… | {now[:12]}…); run Phase {gate.phase} again"
    )
