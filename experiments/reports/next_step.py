"""What to run after a phase, as a command to paste."""

from __future__ import annotations

from pathlib import Path

from keybed.experiments.evaluation.gates import Gate
from keybed.store.command import command

FOLLOWING = {2: ("phase3",), 3: ("phase4",), 4: ("phase5", "select")}


def next_step(gate: Gate, run: Path, store: Path) -> str:
    """The command of the next phase after GO; else the way on against the gate, which needs a reason."""
    words = FOLLOWING[gate.phase]
    name = words[0] if run.name == f"phase{gate.phase}" else f"{run.name}-{words[0]}"
    line: list[str | Path] = [*words, store, "--after", run, "--out", run.parent / name]
    if gate.verdict == "GO":
        return command(*line)
    return f"read the report; to go on against the gate: {command(*line, '--override', 'the reason')}"
