"""Start, kill and watch `keybed` processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

FORK_SERVER = Path(__file__).with_name("fork_server.py")


class ForkServer:
    """Starts `keybed …` processes within milliseconds (see fork_server.py), kills them and says how they ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = folder / "fork_server.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, FORK_SERVER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=folder,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        assert self._answer() == "ready"
        self.children = 0

    def _answer(self) -> object:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._log.read_text()
        return json.loads(line)

    def _ask(self, **request: object) -> object:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def log(self, pid: int) -> str:
        """What this child printed so far."""
        return (self.folder / f"{pid}.log").read_text()

    def start(self, *arguments: str | Path) -> int:
        """Start a command and return its process id."""
        self.children += 1
        log = self.folder / f"child-{self.children}.log"
        pid = self._ask(run=[*map(str, arguments)], log=str(log))
        assert isinstance(pid, int)
        (self.folder / f"{pid}.log").unlink(missing_ok=True)
        (self.folder / f"{pid}.log").symlink_to(log)
        return pid

    def wait(self, pid: int) -> int:
        """Exit status, −9 for one that was killed."""
        status = self._ask(wait=pid)
        assert isinstance(status, int)
        return status

    def run(self, *arguments: str | Path) -> str:
        """Run a command, assert that it succeeds, and return what it printed."""
        pid = self.start(*arguments)
        assert self.wait(pid) == 0, self.log(pid)
        return self.log(pid)

    def run_anyhow(self, *arguments: str | Path) -> str:
        """Run a command, whatever its exit status, and return what it printed."""
        pid = self.start(*arguments)
        self.wait(pid)
        return self.log(pid)

    def kill(self, pid: int) -> int:
        """kill -9 of this one process, as the kernel's memory killer does it; its exit status."""
        os.kill(pid, signal.SIGKILL)
        return self.wait(pid)

    def freeze(self, pid: int) -> None:
        """SIGSTOP, and wait until the kernel has stopped it: the signal alone returns before that."""
        os.kill(pid, signal.SIGSTOP)
        stat = Path(f"/proc/{pid}/stat")
        self.wait_for(
            "the process is stopped or has ended", lambda: stat.read_text().rpartition(")")[2].split()[0] in "TZ"
        )

    def left_running(self, session: int) -> dict[int, int]:
        """Process id → parent's id, of all processes of this child's session that still run (zombies do not count)."""
        running = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdecimal():
                continue
            try:
                state, parent, _, its_session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(its_session) == session and state != "Z":
                running[int(folder.name)] = int(parent)
        return running

    def wait_for(self, what: str, condition: Callable[[], object], limit_s: float = 180) -> None:
        """Poll every 5 ms until the condition holds."""
        deadline = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < deadline, f"not within {limit_s} s: {what}"
            time.sleep(0.005)

    def stop(self) -> None:
        """End the fork server; its children have ended by then."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=120)
        self._process.stdout.close()


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    started = ForkServer(tmp_path_factory.mktemp("fork_server"))
    yield started
    started.stop()
