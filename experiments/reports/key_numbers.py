"""The few numbers of a finished run that a list of runs shows."""

from __future__ import annotations

from keybed.experiments.evaluation.curve_results import CurveResults
from keybed.experiments.evaluation.phase2_results import Phase2Results
from keybed.experiments.evaluation.phase3_results import Phase3Results
from keybed.experiments.evaluation.phase4_results import Phase4Results
from keybed.experiments.evaluation.rating_results import RatingRunResults
from keybed.experiments.evaluation.window_results import WindowCheckResults


def key_numbers(
    results: Phase2Results | Phase3Results | Phase4Results | RatingRunResults | WindowCheckResults | CurveResults,
) -> dict[str, float]:
    """Mean specific r of each model by name, and `seconds`; a window check has no such means.
    Of a run on ratings, mean Pearson r.

    Of a curve, those of the largest training set.
    """
    if isinstance(results, RatingRunResults):
        plain = {f"mean r, {name}": mean.value for name, mean in results.mean_r.items()}
        return {**plain, "seconds": results.seconds}
    if isinstance(results, Phase2Results):
        means = results.evaluation.mean.specific
    elif isinstance(results, Phase3Results):
        means = results.mean
    elif isinstance(results, Phase4Results):
        means = results.mean.specific
    elif isinstance(results, CurveResults):
        largest = max(results.cells, key=lambda cell: cell.rows)
        means = largest.r["mean of the seven"]
    else:
        means = {}
    named = {f"mean specific r, {name}": mean.value for name, mean in means.items() if mean.value is not None}
    return {**named, "seconds": results.seconds}
