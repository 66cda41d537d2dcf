"""What slurm/extract.sbatch does with signals, requeues and arguments, shown with a stand-in for `keybed`."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXTRACT = ROOT / "slurm" / "extract.sbatch"

# Prints its arguments and what of the environment matters, then works until its first run is stopped by TERM.
STAND_IN = """\
#!/bin/bash
trap 'echo "worker stopped"; exit 3' TERM
printf 'arg:%s\\n' "$@"
echo "offline:$HF_HUB_OFFLINE"
for argument; do if [[ -d $argument ]]; then echo "scratch:$argument"; fi; done
if ((SLURM_RESTART_COUNT > 0)); then echo "worker finished"; exit 0; fi
echo "worker ready"
while :; do sleep 0.1; done
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A file to source (KEYBED_ENVIRONMENT) that puts the stand-in first on PATH."""
    program = tmp_path / "bin" / "keybed"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(0o755)
    environment = tmp_path / "environment.sh"
    environment.write_text(f'export PATH="{program.parent}:$PATH"\n')
    return environment


def log(folder: Path, job: str, element: int) -> str:
    path = folder / f"keybed-extract-{job}_{element}.log"
    return path.read_text() if path.exists() else ""


@pytest.mark.slurm
def test_the_limit_signal_requeues_its_own_element_and_scancel_does_not(slurm, stand_in, tmp_path):
    export = f"--export=ALL,KEYBED_ENVIRONMENT={stand_in}"
    store = "a store; with $(spaces) & 'quotes'"
    job = slurm.sbatch("--array=0-2", export, EXTRACT, store, "7", "--flag", "a b", cwd=tmp_path)
    slurm.wait_for("three workers", lambda: all("worker ready" in log(tmp_path, job, i) for i in range(3)))

    slurm.call("scancel", "--signal=USR1", "--batch", f"{job}_1")
    slurm.call("scancel", f"{job}_2")
    slurm.start_now(f"{job}_1", restarts=1)
    elements = {}

    def two_are_over():
        """Slurm says so once a batch script has ended, and its trap with it."""
        elements.update(slurm.elements(job))
        return [elements[i].state for i in "12" if i in elements] == ["COMPLETED", "CANCELLED"]

    slurm.wait_for("1 has run again and ended, and 2 is cancelled", two_are_over)
    assert elements["0"].state == "RUNNING"
    assert elements["0"].restarts == elements["2"].restarts == 0
    assert "worker stopped" in log(tmp_path, job, 2)
    assert "requeueing" not in log(tmp_path, job, 2)
    text = log(tmp_path, job, 1)
    assert f"requeueing {job}_1\n" in text
    assert text.count("restart 0") == text.count("restart 1") == 1
    given = re.findall(r"arg:(.*)", text)
    scratch = set(re.findall(r"scratch:(.*)", text))
    assert given[:7] == ["extract", store, "--task", "1", "--tasks", "7", "--scratch"]
    assert given[8:12] == ["--workers", "1", "--flag", "a b"], "as many as --cpus-per-task asked for"
    assert "offline:1" in text
    assert len(scratch) == 2, "each run has its own scratch folder"
    assert not any(Path(folder).exists() for folder in scratch), "and takes it away"


@pytest.mark.slurm
@pytest.mark.slow
def test_the_real_limit_brings_the_signal_and_the_requeue(slurm, stand_in, tmp_path):
    """The limit is three minutes; the signal is asked for 120 s before it, and Slurm may send it up to 60 s earlier."""
    export = f"--export=ALL,KEYBED_ENVIRONMENT={stand_in}"
    job = slurm.sbatch("--array=0-0", "--time=3", export, EXTRACT, "store", "1", cwd=tmp_path)
    slurm.start_now(f"{job}_0", restarts=1)
    slurm.wait_until_done(job)
    text = log(tmp_path, job, 0)
    assert "worker stopped" in text
    assert f"requeueing {job}_0" in text
    assert slurm.elements(job)["0"].state == "COMPLETED"


@pytest.mark.parametrize("arguments", [(), ("store",), ("store", "0"), ("store", "many"), ("store", "--task", "3")])
def test_without_a_number_of_tasks_it_ends_with_the_usage(arguments):
    done = subprocess.run(["bash", EXTRACT, *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: sbatch --array=0-31 slurm/extract.sbatch STORE 32")


@pytest.mark.parametrize("script", ["plan", "extract", "verify", "experiment"])
def test_without_keybed_on_path_it_says_how_to_get_it_there(script, tmp_path):
    arguments = ["bash", str(EXTRACT.with_name(f"{script}.sbatch")), "one", "2"]
    done = subprocess.run(
        arguments, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "SLURM_JOB_ID": "1"}, cwd=tmp_path
    )
    assert done.returncode == 127
    assert "activate its environment before sbatch, or export KEYBED_ENVIRONMENT" in done.stderr


@pytest.mark.parametrize(("script", "subcommand"), [("plan", ["plan"]), ("verify", ["verify"]), ("experiment", [])])
def test_the_other_scripts_hand_every_argument_on(script, subcommand, tmp_path):
    program = tmp_path / "keybed"
    program.write_text('#!/bin/bash\nprintf \'%s\\n\' "offline:$HF_HUB_OFFLINE" "$@"\n')
    program.chmod(0o755)
    environment = tmp_path / "environment.sh"
    environment.write_text(f"echo $not_set_anywhere; false; export PATH={tmp_path}:$PATH\n")
    given = ["phase2", "a store; $(x)", "--out", "run 'one'"]
    done = subprocess.run(
        ["bash", EXTRACT.with_name(f"{script}.sbatch"), *given],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "KEYBED_ENVIRONMENT": str(environment)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == ["offline:1", *subcommand, *given]


def test_the_four_scripts_hold_the_same_lines_for_the_environment():
    """Slurm copies a batch script away from its folder, so shared lines stand in each; here they are kept equal."""
    first, last = "# Slurm runs a copy of this script", "export HF_HUB_OFFLINE=1"
    blocks = set()
    for path in EXTRACT.parent.glob("*.sbatch"):
        text = path.read_text()
        blocks.add(text[text.index(first) : text.index(last)])
    (block,) = blocks
    assert 'source "$KEYBED_ENVIRONMENT"' in block
    assert "exit 127" in block
