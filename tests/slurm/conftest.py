"""A real Slurm on this one machine: munged, slurmctld and slurmd on loopback, out of a temporary folder."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "scancel", "squeue")
CONFIG = """\
ClusterName=onebox
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdSpoolDir={folder}/spool
StateSaveLocation={folder}/state
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=10
MessageTimeout=60
MinJobAge=3600
NodeName={host} NodeAddr=127.0.0.1 CPUs=32 RealMemory=64000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Element:
    """One line of squeue: one array element, or one job outside an array."""

    state: str
    restarts: int
    reason: str


@dataclass(frozen=True)
class OneBox:
    """A running one-node Slurm; `environment` is what its clients and jobs see."""

    folder: Path
    environment: Mapping[str, str]

    def call(self, *command: str, check: bool = True) -> str:
        """Run a Slurm client and return what it printed; its errors are in the exception's text."""
        done = subprocess.run(command, env=dict(self.environment), capture_output=True, text=True, timeout=180)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def sbatch(self, *arguments: str | Path, cwd: Path) -> str:
        """Submit and return the job number. Logs land in cwd, where sbatch puts them."""
        command = ["sbatch", "--parsable", f"--chdir={cwd}", "--cpus-per-task=1", "--mem=100M", *map(str, arguments)]
        return self.call(*command).strip()

    def elements(self, job: str) -> dict[str, Element]:
        """Every element of the job that Slurm still knows, by its index (the empty string outside an array)."""
        text = self.call("scontrol", "show", "job", job, "--oneliner", check=False)
        by_index = {}
        for line in text.splitlines():
            values = dict(re.findall(r"(\S+?)=(\S*)", line))
            index = values.get("ArrayTaskId", "")
            by_index[index] = Element(values["JobState"], int(values["Restarts"]), values["Reason"])
        return by_index

    def wait_for(self, what: str, condition: Callable[[], bool], limit_s: float = 240) -> None:
        """Poll until the condition holds; the failure shows the queue and the node's log."""
        deadline = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline:
                queue = self.call("squeue", "--all", "--array", check=False)
                logs = (self.folder / "slurmctld.log").read_text()[-2000:]
                raise AssertionError(f"not within {limit_s} s: {what}\n{queue}\n{logs}")
            time.sleep(0.1)

    def wait_until_done(self, job: str, limit_s: float = 600) -> dict[str, Element]:
        """Wait until no element runs or pends, and return them."""
        over = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
        elements_now: dict[str, Element] = {}

        def all_over() -> bool:
            # A controller that is too busy to answer tells of no element at all.
            elements_now.clear()
            elements_now.update(self.elements(job))
            return bool(elements_now) and all(element.state in over for element in elements_now.values())

        self.wait_for(f"job {job} is over", all_over, limit_s)
        return elements_now

    def start_now(self, element: str, restarts: int) -> None:
        """Skip the two minutes that Slurm keeps a requeued element waiting."""
        self.wait_for(
            f"{element} is requeued",
            lambda: any(e.state == "PENDING" and e.restarts == restarts for e in self.elements(element).values()),
        )
        time.sleep(2)  # slurmd refuses a credential made within the second in which it revoked the last one
        self.call("scontrol", "update", f"JobId={element}", "StartTime=now")

    def cancel_all(self) -> None:
        """End whatever a test left behind, so that the next one finds an idle node."""
        self.call("scancel", "--user=root", check=False)
        self.wait_for("the queue is empty", lambda: not self.call("squeue", "--noheader").strip())


def _missing() -> str | None:
    if os.geteuid() != 0:
        return "the one-box Slurm needs root"
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"no {', '.join(absent)} here (apt-get install slurm-wlm munge)" if absent else None


def _free_ports() -> tuple[int, int]:
    """Two ports that are free and not the same: both are held until both are known."""
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1]), int(other.getsockname()[1])


@pytest.fixture(scope="session")
def slurm_daemons() -> Iterator[OneBox]:
    """Start the three daemons in the foreground and stop them, whatever happens; nothing outside the folder changes."""
    missing = _missing()
    if missing and os.environ.get("CI") == "true":
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)
    # Not pytest's own folder: a socket's path may have 107 characters, and munged wants it under folders of mode 755.
    folder = Path(tempfile.mkdtemp(prefix="onebox-"))
    folder.chmod(0o755)
    (folder / "spool").mkdir()
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    config = folder / "slurm.conf"
    host = socket.gethostname().partition(".")[0]
    controller_port, node_port = _free_ports()
    config.write_text(CONFIG.format(folder=folder, host=host, controller_port=controller_port, node_port=node_port))
    hidden = {name for name in os.environ if name.startswith(("SLURM", "SBATCH", "COV_", "PYTEST"))}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {
        "SLURM_CONF": str(config),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "OMP_NUM_THREADS": "1",
    }
    munged = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"]
    munged += [f"--pid-file={folder}/munged.pid", f"--seed-file={folder}/munged.seed"]
    box = OneBox(folder, environment)
    running: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> None:
        with (folder / f"{command[0]}.log").open("wb") as log:
            running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT))

    try:
        start(*munged)
        credential = ["munge", "--no-input", f"--socket={folder}/munge.socket"]
        box.wait_for("munged answers", lambda: subprocess.run(credential, capture_output=True).returncode == 0)
        start("slurmctld", "-D", "-c")
        start("slurmd", "-D")
        box.wait_for("the node is idle", lambda: "idle" in box.call("sinfo", "--noheader", check=False))
        yield box
    finally:
        for daemon in reversed(running):
            daemon.terminate()
        for daemon in reversed(running):
            try:
                daemon.wait(timeout=60)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(folder)


@pytest.fixture
def slurm(slurm_daemons: OneBox) -> Iterator[OneBox]:
    """The one-box Slurm, idle before the test and after it."""
    yield slurm_daemons
    slurm_daemons.cancel_all()
