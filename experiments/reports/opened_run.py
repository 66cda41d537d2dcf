"""A finished run in Python: `keybed.open_run(RUN)`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keybed.experiments.data.run_folder import read_json
from keybed.experiments.evaluation.curve_results import CurveResults
from keybed.experiments.evaluation.decimals import number
from keybed.experiments.evaluation.gates import Gate, read_gate
from keybed.experiments.evaluation.model_names import SHORTCUT
from keybed.experiments.evaluation.window_results import WindowCheckResults
from keybed.experiments.reports.key_numbers import key_numbers
from keybed.experiments.reports.results import RunResults, read_any_results
from keybed.store.counted import counted

if TYPE_CHECKING:
    from keybed.experiments.evaluation.saved_predictions import SavedPredictions


@dataclass(frozen=True, repr=False, eq=False)
class Run:
    """A finished run of Phase 2, 3 or 4, a window check or a curve.

    results: everything in results.json, with the fields of its phase. gate: the criteria and the verdict; None for a
    window check and a curve, which have none. config: the choices that were made.
    """

    path: Path
    results: RunResults
    gate: Gate | None
    config: dict[str, Any]

    @property
    def phase(self) -> int | str:
        """2, 3, 4, "2 on ratings", "window check" or "curve"."""
        return self.results.phase

    @property
    def verdict(self) -> str | None:
        """GO, NO-GO or UNDEFINED; None where the run has no gate."""
        return None if self.gate is None else self.gate.verdict

    @property
    def numbers(self) -> dict[str, float]:
        """Mean specific r of each model by name (of a run on ratings, mean r), and `seconds`."""
        return key_numbers(self.results)

    @cached_property
    def predictions(self) -> SavedPredictions:
        """Predictions of every test row: `.by_model["audio"]` is (seed, row, dimension), `.index` the rows' numbers."""
        from keybed.experiments.evaluation.saved_predictions import load_predictions

        return load_predictions(self.path)

    def __repr__(self) -> str:
        means = {name: r for name, r in self.numbers.items() if ", " in name and SHORTCUT not in name}
        listed = ", ".join(f"{name.partition(', ')[2]} {number(r)}" for name, r in means.items())
        measure = next(iter(means), "").partition(", ")[0]
        listed = f"; {measure}: {listed}" if means else ""
        return f"<Run {self.path}: {self._title()}{listed}>"

    def _repr_html_(self) -> str:
        title = f"<p><b>Run</b> <code>{escape(str(self.path))}</code>: {escape(self._title())}</p>"
        if self.gate is None:
            return title
        rows = "".join(
            f"<tr><td>{escape(c.name)}</td><td>{number(c.value)} [{number(c.low)}, {number(c.high)}]</td>"
            f"<td>{escape(c.threshold)}</td><td>{c.outcome}{'' if c.required else ' (not required)'}</td></tr>"
            for c in self.gate.criteria
        )
        head = "<tr><th>criterion</th><th>value and interval</th><th>asked</th><th>outcome</th></tr>"
        return f"{title}<p>{escape(self.gate.headline)}</p><table><thead>{head}</thead><tbody>{rows}</tbody></table>"

    def _title(self) -> str:
        kind = f"Phase {self.phase}" if self.gate is not None else str(self.phase)
        of = "" if isinstance(self.results, WindowCheckResults) else f" on {counted(self.results.store.n_rows, 'row')}"
        return f"{kind}{of}{'' if self.verdict is None else f', {self.verdict}'}"


def open_run(path: str | Path) -> Run:
    """Read a finished run's folder: results.json, gate.json and config.json now, predictions.npz when it is asked for.

    Raises KeybedError, RunDamaged, JsonMismatch, GateRefused and GateAltered: each says which file and what to do.
    """
    folder = Path(path)
    results = read_any_results(folder)
    gate = None if isinstance(results, WindowCheckResults | CurveResults) else read_gate(folder)
    return Run(folder, results, gate, dict(read_json(folder / "config.json").get("config", {})))
