"""`keybed slurm DIR`: the batch files of the package, copied once and never over a changed file."""

from __future__ import annotations

from pathlib import Path

import pytest

from keybed.experiments.cli.main import main
from keybed.experiments.cli.slurm import ChangedBatchFile, copy_batch_files

SOURCE = Path(__file__).resolve().parents[3] / "slurm"
NAMES = ("README.md", "experiment.sbatch", "extract.sbatch", "plan.sbatch", "verify.sbatch")


def test_every_batch_file_is_copied_byte_by_byte(tmp_path):
    folder = tmp_path / "a" / "b"
    assert copy_batch_files(folder) == NAMES
    assert {path.name for path in folder.iterdir()} == set(NAMES) == {path.name for path in SOURCE.iterdir()}
    for name in NAMES:
        assert (folder / name).read_bytes() == (SOURCE / name).read_bytes()


def test_a_second_copy_adds_only_what_is_missing(tmp_path):
    copy_batch_files(tmp_path)
    (tmp_path / "plan.sbatch").unlink()
    assert copy_batch_files(tmp_path) == ("plan.sbatch",)
    assert copy_batch_files(tmp_path) == ()


@pytest.mark.parametrize("obstacle", ["file", "folder"])
def test_a_changed_file_is_named_and_nothing_is_written(obstacle, tmp_path):
    changed = tmp_path / "extract.sbatch"
    if obstacle == "file":
        changed.write_text("#!/bin/bash\n#SBATCH --mem=48G\n")
    else:
        changed.mkdir()
    with pytest.raises(ChangedBatchFile, match=r"extract\.sbatch: changed"):
        copy_batch_files(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["extract.sbatch"]
    if obstacle == "file":
        assert changed.read_text().endswith("--mem=48G\n")


def test_the_command_says_what_to_run_next(tmp_path, capsys):
    folder = tmp_path / "my files"
    assert main(["slurm", str(folder)]) == 0
    copied, following = capsys.readouterr().out.splitlines()
    assert copied == f"{folder}: {', '.join(NAMES)}"
    assert following.endswith(f"sbatch '{folder / 'plan.sbatch'}' MAESTRO_DIR STORE")
    assert main(["slurm", str(folder)]) == 0
    assert "all files are there already" in capsys.readouterr().out
    taken = tmp_path / "taken"
    taken.touch()
    assert main(["slurm", str(taken)]) == 1
    assert capsys.readouterr().err == f"keybed: {taken} is a file; give a folder\n"
