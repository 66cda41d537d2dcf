"""Read a run's results.json as the dataclass of its phase."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from keybed.experiments.data.json_codec import from_json
from keybed.experiments.data.run_folder import check_version, read_json
from keybed.experiments.evaluation.curve_results import CurveResults
from keybed.experiments.evaluation.phase2_results import Phase2Results
from keybed.experiments.evaluation.phase3_results import Phase3Results
from keybed.experiments.evaluation.phase4_results import Phase4Results
from keybed.experiments.evaluation.rating_results import RatingRunResults
from keybed.experiments.evaluation.window_results import WindowCheckResults
from keybed.store.errors import KeybedError

T = TypeVar("T")
RunResults = Phase2Results | Phase3Results | Phase4Results | RatingRunResults | WindowCheckResults | CurveResults
KINDS: dict[Any, type[RunResults]] = {
    2: Phase2Results,
    3: Phase3Results,
    4: Phase4Results,
    "2 on ratings": RatingRunResults,
    "window check": WindowCheckResults,
    "curve": CurveResults,
}


class NothingToReport(KeybedError):
    """The folder is a run of another kind."""


def read_results(run: Path, kind: type[T]) -> T:
    """RUN/results.json of a known kind.

    Raises KeybedError where it is absent, NewerKeybed where a newer version wrote it, JsonMismatch where it is of another kind.
    """
    check_version(run)
    path = run / "results.json"
    return from_json(kind, read_json(path), path)


def read_any_results(run: Path) -> RunResults:
    """RUN/results.json of the phase that it names.

    Raises NewerKeybed where a newer version wrote it, NothingToReport for a phase without a page.
    """
    check_version(run)
    path = run / "results.json"
    data = read_json(path)
    phase = data.get("phase")
    if phase not in KINDS:
        raise NothingToReport(f"{path} is of phase {phase!r}: no run of Phase 2, 3 or 4, no window check and no curve")
    return from_json(KINDS[phase], data, path)
