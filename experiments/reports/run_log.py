"""Follow a run elsewhere: in TensorBoard or in Weights & Biases. Their libraries are imported only where they are asked for.

Both get the same names. Once per epoch `loss/FIT/HEAD/seed-S` and `validation/FIT/HEAD/seed-S`: the mean concordance of a
head with the scores, or minus the validation loss of projections. At the end `gate/CRITERION` and `result/NAME`. FIT says
which fold and features are trained, such as `fold-1-of-5` or `aligned/fold-1-of-5`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol

from keybed.experiments.evaluation.gates import Gate
from keybed.experiments.reports.key_numbers import key_numbers
from keybed.experiments.reports.results import RunResults
from keybed.heads.progress import Listener, Report
from keybed.store.optional import optional

LogName = Literal["tensorboard", "wandb"]


class Sink(Protocol):
    """Where numbers go."""

    def numbers(self, values: dict[str, float], epoch: int) -> None:
        """Write numbers of one epoch."""

    def end(self, values: dict[str, float], words: dict[str, str]) -> None:
        """Write the numbers and words of the finished run, and close."""


class RunLog:
    """A listener for `fit(progress=…)` that passes each epoch's numbers to a sink, and the gate at the end."""

    def __init__(self, sink: Sink | None) -> None:
        self._sink = sink

    def beside(self, shown: Listener) -> Listener:
        """A listener that calls `shown` and logs the ends of epochs."""
        if self._sink is None:
            return shown

        def listen(report: Report) -> None:
            shown(report)
            self(report)

        return listen

    def __call__(self, report: Report) -> None:
        """Log the epoch that this report ends; other reports are left out."""
        if self._sink is None or report.ended is None:
            return
        values = {
            f"{kind}/{report.fit}/{head}/seed-{seed}": value
            for kind in ("loss", "validation")
            for head, by_seed in report.ended[kind].items()
            for seed, value in zip(report.seeds, by_seed, strict=True)
            if value is not None
        }
        self._sink.numbers({**values, f"rows_per_s/{report.fit}": report.ended["rows_per_s"]}, report.epoch)

    def finish(self, results: RunResults, gate: Gate) -> None:
        """Log the gate's criteria, the verdict and the key numbers."""
        if self._sink is None:
            return
        values = {f"gate/{c.name}": c.value for c in gate.criteria if c.value is not None}
        values |= {f"result/{name}": value for name, value in key_numbers(results).items()}
        self._sink.end(values, {"verdict": f"Phase {gate.phase}: {gate.verdict}", "headline": gate.headline})


def run_log(name: LogName | None, out: Path, config: Any) -> RunLog:
    """The log that --log names; None logs nothing. Nothing is written before the first epoch ends.

    Raises NotInstalled where the library is absent.
    """
    if name == "tensorboard":
        return RunLog(_TensorBoard(optional("tensorboardX", "log"), out))
    if name == "wandb":
        return RunLog(_Wandb(optional("wandb", None), out, config))
    return RunLog(None)


class _TensorBoard:
    """Event files in RUN/tensorboard, written by tensorboardX, which needs no TensorFlow and no server."""

    def __init__(self, library: Any, out: Path) -> None:
        self._library, self._folder = library, out / "tensorboard"
        self._writer: Any = None

    def numbers(self, values: dict[str, float], epoch: int) -> None:
        for name, value in values.items():
            self._open().add_scalar(name, value, epoch)
        self._open().flush()

    def end(self, values: dict[str, float], words: dict[str, str]) -> None:
        self.numbers(values, 0)
        for name, text in words.items():
            self._open().add_text(name, text, 0)
        self._open().close()

    def _open(self) -> Any:
        if self._writer is None:
            self._writer = self._library.SummaryWriter(str(self._folder))
        return self._writer


class _Wandb:
    """A run of Weights & Biases. WANDB_MODE=offline, WANDB_PROJECT and its other variables work as they always do."""

    def __init__(self, library: Any, out: Path, config: Any) -> None:
        self._library, self._out, self._config = library, out, config
        self._run: Any = None

    def numbers(self, values: dict[str, float], epoch: int) -> None:
        self._open().log({"epoch": epoch, **values})

    def end(self, values: dict[str, float], words: dict[str, str]) -> None:
        self._open().summary.update({**values, **words})
        self._open().finish()

    def _open(self) -> Any:
        if self._run is None:
            from dataclasses import asdict

            from keybed.experiments.data.json_codec import plain

            self._out.mkdir(parents=True, exist_ok=True)
            self._run = self._library.init(
                dir=str(self._out), name=self._out.resolve().name, config=plain(asdict(self._config))
            )
            self._run.define_metric("*", step_metric="epoch")
        return self._run
