"""slurm: copy the batch files of the installed package into a folder, for sbatch."""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path
from typing import Any

from keybed.experiments.cli.command_parser import add_command
from keybed.store.command import shell_line
from keybed.store.errors import KeybedError


class ChangedBatchFile(KeybedError):
    """A file of the same name and other content is in the way; the message names it."""


def register(subcommands: Any) -> None:
    """Add this group's subcommand."""
    text = "copy the Slurm batch files into a folder, to submit or to change"
    add_command(subcommands, "slurm", text, _fill, example="slurm my-scripts")


def _fill(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", type=Path, help="where to put them; made if it does not exist")
    parser.set_defaults(run=_slurm)


def batch_files() -> dict[str, bytes]:
    """Name and content of every file in the package's `slurm` folder: the *.sbatch files and their README.md."""
    folder = files("keybed").joinpath("slurm")
    names = (entry.name for entry in folder.iterdir() if entry.name.endswith((".sbatch", ".md")))
    return {name: folder.joinpath(name).read_bytes() for name in sorted(names)}


def copy_batch_files(folder: Path) -> tuple[str, ...]:
    """Write the batch files into `folder`; return the names of those that were not there yet.

    Files of equal content are left as they are. Raises ChangedBatchFile, before anything is written, where a file of the
    same name has other content, and where `folder` cannot be a folder.
    """
    if folder.exists() and not folder.is_dir():
        raise ChangedBatchFile(f"{folder} is a file; give a folder")
    wanted = batch_files()
    present = {name: folder / name for name in wanted if (folder / name).exists()}
    changed = [str(path) for name, path in present.items() if not path.is_file() or path.read_bytes() != wanted[name]]
    if changed:
        raise ChangedBatchFile(
            f"{', '.join(changed)}: changed since it was copied, or from another version of Keybed; "
            f"move it away, or give another folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    missing = tuple(name for name in wanted if name not in present)
    for name in missing:
        (folder / name).write_bytes(wanted[name])
    return missing


def _slurm(options: argparse.Namespace) -> None:
    copied = copy_batch_files(options.folder)
    print(f"{options.folder}: {', '.join(copied)}" if copied else f"{options.folder}: all files are there already")
    submit = shell_line("sbatch", options.folder / "plan.sbatch", "MAESTRO_DIR", "STORE")
    print(f"next: read {options.folder / 'README.md'}, then {submit}")
