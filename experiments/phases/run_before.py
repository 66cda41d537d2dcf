"""Whether the run of the phase before allows this one to begin."""

from __future__ import annotations

from pathlib import Path

from keybed.experiments.data.run_folder import read_json
from keybed.experiments.evaluation.gate_chain import check_chain
from keybed.experiments.evaluation.gates import Gate, GateAltered, Override, check_criteria
from keybed.experiments.evaluation.phase2_results import Phase2Results
from keybed.experiments.evaluation.phase3_results import Phase3Results
from keybed.experiments.evaluation.phase4_results import Phase4Results
from keybed.experiments.phases.phase2_criteria import phase2_gate
from keybed.experiments.phases.phase3_criteria import phase3_gate
from keybed.experiments.phases.phase4_criteria import phase4_gate
from keybed.experiments.reports.results import read_any_results
from keybed.store.errors import KeybedError
from keybed.store.read.store import Store


def fingerprint_before(run: Path, store: Store) -> str:
    """Fingerprint of the rows and of the encoders that `run` compared, as this store has them.

    That of the planned store where results.json does not tell them, which `check_run_before` explains.
    """
    if not store.layers:
        return store.fingerprint
    try:
        pair = read_json(run / "results.json")["pair"]
        return store.fingerprint_of((pair["audio"], pair["midi"]))
    except (KeybedError, OSError, ValueError, KeyError, TypeError):
        return store.fingerprint


def check_run_before(
    run: Path, phase: int, store_fingerprint: str, override: str | None
) -> tuple[Gate, tuple[Override, ...]]:
    """`gate_chain.check_chain` (see there), and GateAltered where the gate's criteria do not follow from the run's results.json."""
    gate, overrides = check_chain(run, phase, store_fingerprint, override)
    results = read_any_results(run)
    if isinstance(results, Phase2Results):
        expected = phase2_gate(results, gate.rests_on)
    elif isinstance(results, Phase3Results):
        expected = phase3_gate(results, gate.rests_on)
    elif isinstance(results, Phase4Results):
        expected = phase4_gate(results, gate.rests_on)
    else:
        raise GateAltered(f"{run / 'gate.json'}: {run} is a window check, which has no gate; delete the file")
    check_criteria(run, gate, expected)
    return gate, overrides
