"""The real extraction as a real array, with everything that happens to arrays; then README's three commands as printed."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXTRACT = ROOT / "slurm" / "extract.sbatch"
README = ROOT / "slurm" / "README.md"


def freeze_each_in_the_middle_of_a_shard(slurm, store: Path, tasks: int) -> dict[int, int]:
    """Stop every task's process (SIGSTOP) while it holds a claim; task -> process id."""
    frozen: dict[int, int] = {}

    def catch() -> bool:
        for path in (store / "claims").glob("[0-9]*.json"):
            task = int(path.stem) % tasks
            try:
                text = path.read_text()
            except FileNotFoundError:  # given back this very moment
                continue
            if task not in frozen and text.endswith("}\n"):
                frozen[task] = json.loads(text)["pid"]
                os.kill(frozen[task], signal.SIGSTOP)
        return len(frozen) == tasks

    slurm.wait_for("every task is at work", catch)
    return frozen


@pytest.mark.slurm
def test_an_array_that_is_hit_by_everything_ends_equal_to_one_quiet_process(
    slurm, planned_placeholder_store, finished_placeholder_store, differing, commits_of, keybed, tmp_path
):
    store = tmp_path / "store"
    shutil.copytree(planned_placeholder_store, store)
    job = slurm.sbatch("--array=0-3", EXTRACT, store, "4", "--workers", "0", cwd=tmp_path)
    process = freeze_each_in_the_middle_of_a_shard(slurm, store, 4)

    slurm.call("scancel", f"{job}_0")
    slurm.call("scancel", "--signal=USR1", "--batch", f"{job}_1")  # what Slurm sends before the time limit
    os.kill(process[1], signal.SIGCONT)
    os.kill(process[2], signal.SIGKILL)
    slurm.call("scontrol", "requeue", f"{job}_3")
    slurm.start_now(f"{job}_1", restarts=1)
    slurm.start_now(f"{job}_3", restarts=1)
    elements = slurm.wait_until_done(job)
    assert [elements[i].state for i in "0123"] == ["CANCELLED", "COMPLETED", "FAILED", "COMPLETED"]
    assert [elements[i].restarts for i in "0123"] == [0, 1, 0, 1]

    before = commits_of(store)
    assert {shard for shard in range(15) if shard % 4 in (1, 3)} <= before.keys()
    assert len(before) < 15
    printed = keybed("verify", store, "--tasks", "4", "--script", EXTRACT, status=1).stdout
    (line,) = re.findall(r"sbatch .*", printed)
    assert shlex.split(line) == ["sbatch", "--array=0,2", str(EXTRACT), str(store), "4"]
    redo = slurm.sbatch(*shlex.split(line)[1:], "--workers", "0", cwd=tmp_path)
    assert {element.state for element in slurm.wait_until_done(redo).values()} == {"COMPLETED"}

    assert before == {shard: seen for shard, seen in commits_of(store).items() if shard in before}
    keybed("verify", store, "--repair")
    assert not differing(store, finished_placeholder_store)


@pytest.mark.slurm
@pytest.mark.slow
def test_the_three_commands_of_the_readme(slurm, tiny_maestro, tmp_path):
    """Both blocks, three commands and one chain, as they stand there but for the folders and the number of tasks."""
    blocks = re.findall(r"```bash\n(.*?)```", README.read_text(), re.DOTALL)[:2]
    assert [len(re.findall(r"(?<!\.)sbatch ", block)) for block in blocks] == [3, 3]
    (tmp_path / "slurm").symlink_to(ROOT / "slurm")
    for number, block in enumerate(blocks):
        store = tmp_path / f"store-{number}"
        script = block.replace("/project/maestro-v3.0.0", str(tiny_maestro)).replace(
            "/project/keybed/store", str(store)
        )
        script = script.replace("--array=0-31", "--array=0-3").replace(f"{store} 32", f"{store} 4")
        if number == 0:  # typed one by one, each when the one before has ended
            script = re.sub(r"^sbatch ", "sbatch --wait ", script, flags=re.MULTILINE)
        subprocess.run(["bash", "-euc", script], cwd=tmp_path, env=dict(slurm.environment), check=True, timeout=900)
        slurm.wait_for("the queue is empty", lambda: not slurm.call("squeue", "--noheader").strip(), 600)
        logs = {path.name: path.read_text() for path in tmp_path.glob("keybed-*.log")}
        (verified,) = [text for name, text in logs.items() if name.startswith("keybed-verify")]
        assert "shards are whole and sound" in verified
        assert len([name for name in logs if name.startswith("keybed-extract")]) == 4
        for name in logs:
            (tmp_path / name).unlink()
