"""`keybed report RUN` for every kind of run: the page is written again from results.json."""

from __future__ import annotations

from pathlib import Path

from keybed.experiments.data.run_folder import read_json
from keybed.store.read.store import Store


def render_any(run: Path, store: Store | None) -> Path:
    """RUN/results.json -> RUN/report.html. store: the run's own, for the sound of its examples. Raises NothingToReport."""
    from keybed.experiments.reports.results import read_results

    data = read_json(run / "results.json")
    page = run / "report.html"
    if "protocols" in data:
        from keybed.experiments.percepiano.page import write_percepiano_page
        from keybed.experiments.percepiano.results import PercepianoResults

        return write_percepiano_page(read_results(run, PercepianoResults), page)
    if "level_scores" in data:
        from keybed.experiments.sensitivity.report import write_report
        from keybed.experiments.sensitivity.results import SensitivityResults

        return write_report(read_results(run, SensitivityResults), page)
    if data.get("phase") == "comparison":
        from keybed.experiments.evaluation.comparison_results import Comparison
        from keybed.experiments.reports.comparison_page import write_comparison_page

        return write_comparison_page(read_results(run, Comparison), page)
    if "raters" in data:
        from keybed.experiments.evaluation.gates import read_gate
        from keybed.experiments.listening.ingest_page import write_ingest_page
        from keybed.experiments.listening.ingest_results import IngestResults

        return write_ingest_page(read_results(run, IngestResults), read_gate(run), page)
    from keybed.experiments.reports.report import render

    return render(run, store)
