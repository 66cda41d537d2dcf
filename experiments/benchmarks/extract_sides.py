"""Run `keybed plan` and `keybed extract` of this code and of an earlier commit, each in processes of its own."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Run:
    """One `keybed extract`, from its first commit to its last but one: without start-up, and with the next shard always in
    work.

    cpu_ms_per_row: processor time of all its processes. encode_ms_per_row: of the thread that computes features, by encoder,
    waiting for rows included. features_share: of the time of the thread that computes features,
    from the logs; NaN for code that logs none. gpu_share: nvidia-smi's utilisation; NaN without it.
    """

    rows_per_s: float
    cpu_ms_per_row: float
    encode_ms_per_row: dict[str, float]
    features_share: float
    gpu_share: float
    report: str


@dataclass
class Side:
    """Code in the folder `code`, and the store that it planned and fills."""

    name: str
    code: Path
    store: Path
    runs: list[Run] = field(default_factory=list)

    def plan(self, corpus: Path, *options: str) -> None:
        """Plan the store."""
        self._keybed("plan", str(corpus), str(self.store), *options)

    def extract(self, shards: range, workers: int) -> Run:
        """Make these shards."""
        with _Watch() as watch:
            report = self._keybed(
                "extract",
                *(str(self.store), "--shards", f"{shards[0]}-{shards[-1]}", "--workers", str(workers)),
                watch=watch,
            )
        logs = [json.loads((self.store / "logs" / f"{shard:06d}.json").read_bytes()) for shard in shards]
        ended = sorted((datetime.fromisoformat(log["committed"]).timestamp(), log["rows"]) for log in logs)
        (start, _), *counted, _ = ended
        stop, n_rows = counted[-1][0], sum(rows for _, rows in counted)
        times = [log["work_time"] for log in logs[1:-1] if "work_time" in log]
        encode_s: Counter[str] = Counter()
        for log in logs[1:-1]:
            encode_s.update({**log.get("encode_seconds", {}), "all": log.get("work_time", {}).get("features_s", 0.0)})
        total_s = sum(sum(entry.values()) for entry in times)
        run = Run(
            rows_per_s=n_rows / (stop - start),
            cpu_ms_per_row=1e3 * watch.cpu_s(start, stop) / n_rows,
            encode_ms_per_row={name: 1e3 * seconds / n_rows for name, seconds in encode_s.items() if seconds},
            features_share=sum(entry["features_s"] for entry in times) / total_s if total_s else float("nan"),
            gpu_share=watch.gpu_share(start, stop),
            report=report,
        )
        self.runs.append(run)
        return run

    def _keybed(self, *arguments: str, watch: _Watch | None = None) -> str:
        process = subprocess.Popen(
            [sys.executable, "-m", "keybed", *arguments],
            cwd=self.code,
            env={**os.environ, "PYTHONPATH": str(self.code), "HF_HUB_OFFLINE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        if watch is not None:
            watch.session = process.pid
        said, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"{self.name}: keybed {' '.join(arguments)} ended with {process.returncode}:\n{said}")
        return said


def code_of(commit: str, folder: Path) -> Path | None:
    """The files of a commit, unpacked into `folder`; None where there is no git or no such commit."""
    if shutil.which("git") is None:
        return None
    packed = subprocess.run(["git", "-C", str(ROOT), "archive", commit], capture_output=True)
    if packed.returncode:
        return None
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="tar")
    return folder


class _Watch:
    """Samples the processor time of a session of processes, and nvidia-smi's utilisation where there is a GPU."""

    session: int | None = None

    def __init__(self) -> None:
        self._cpu: list[tuple[float, float]] = []
        self._gpu: list[tuple[float, float]] = []
        self._smi: subprocess.Popen[str] | None = None
        self._end = threading.Event()

    def __enter__(self) -> _Watch:
        threading.Thread(target=self._sample_cpu, daemon=True).start()
        if shutil.which("nvidia-smi") is not None:
            query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop-ms=250"]
            self._smi = subprocess.Popen(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            threading.Thread(target=self._read_smi, args=(self._smi,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        if self._smi is not None:
            self._smi.terminate()
            self._smi.wait()

    def cpu_s(self, start: float, stop: float) -> float:
        """Processor seconds between two times."""
        at, total = np.array(self._cpu).T
        return float(np.interp(stop, at, total) - np.interp(start, at, total))

    def gpu_share(self, start: float, stop: float) -> float:
        """Mean utilisation between two times; NaN without a look."""
        within = [share for at, share in self._gpu if start <= at <= stop]
        return float(np.mean(within)) if within else float("nan")

    def _sample_cpu(self) -> None:
        last: dict[int, float] = {}
        while not self._end.wait(0.2):
            for pid in psutil.pids():
                # A process may end between two lines; what it had used by the last look is kept.
                with suppress(psutil.Error, ProcessLookupError):
                    if self.session is not None and os.getsid(pid) == self.session:
                        times = psutil.Process(pid).cpu_times()
                        last[pid] = times.user + times.system
            self._cpu.append((time.time(), sum(last.values())))

    def _read_smi(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip().isdecimal():
                self._gpu.append((time.time(), int(line) / 100))
