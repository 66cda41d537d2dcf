"""The few numbers of a finished run that a list of runs shows."""

from __future__ import annotations

from keybed.experiments.evaluation.phase2_results import Phase2Results
from keybed.experiments.evaluation.phase3_results import Phase3Results
from keybed.experiments.evaluation.phase4_results import Phase4Results
from keybed.experiments.evaluation.window_results import WindowCheckResults


def key_numbers(results: Phase2Results | Phase3Results | Phase4Results | WindowCheckResults) -> dict[str, float]:
    """Mean specific r of each model by name, and `seconds`; a window check has no such means."""
    if isinstance(results, Phase2Results):
        means = results.evaluation.mean.specific
    elif isinstance(results, Phase3Results):
        means = results.mean
    elif isinstance(results, Phase4Results):
        means = results.mean.specific
    else:
        means = {}
    named = {f"mean specific r, {name}": mean.value for name, mean in means.items() if mean.value is not None}
    return {**named, "seconds": results.seconds}
