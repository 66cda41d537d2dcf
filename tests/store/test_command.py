"""Suggested commands are quoted, and no message of the project writes one without quoting."""

from __future__ import annotations

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from keybed.experiments.cli.main import parser
from keybed.store.command import command, shell_line

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("path", ["store", "q u'o/st", "a;b", "$HOME", "`id`", "[bold]x[/bold]", "é ü", "new\nline"])
def test_a_shell_reads_the_path_that_was_meant(path: str) -> None:
    assert shlex.split(command("extract", Path(path), "--shards", "3-5")) == [
        *("keybed", "extract", path, "--shards", "3-5")
    ]


def test_a_plain_command_stays_readable_and_a_path_is_no_option() -> None:
    assert command("extract", Path("/d/store"), "--task", 3) == "keybed extract /d/store --task 3"
    assert shell_line("tar", "xzf", Path("-x.tar.gz")) == "tar xzf ./-x.tar.gz"


@cache
def begun() -> re.Pattern[str]:
    """A text that ends within a command; made once, since the parser of the command line is slow to build."""
    subcommands = "|".join(sorted(parser()._subparsers._group_actions[0].choices))  # type: ignore[union-attr, arg-type]
    return re.compile(rf"\b(keybed ({subcommands})|sbatch|tar x|hf download)\b[^`;,\n]*$")


def unquoted(source: str) -> list[int]:
    """Lines of f-strings in which a value follows a command in the same string, where `command` should write both."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            text = ""
            for part in node.values:
                if isinstance(part, ast.Constant):
                    text += str(part.value)
                elif begun().search(text):
                    lines.append(node.lineno)
                else:
                    text += "{}"
    return lines


def test_the_search_finds_an_unquoted_path() -> None:
    assert unquoted('x = f"next: keybed extract {store}"') == [1]
    assert unquoted('x = f"next: keybed phase2 STORE --out {out}"') == [1]
    assert unquoted("x = f\"{path}: `keybed plan` wrote it, {n}, next: {command('extract', store)}\"") == []


def test_every_suggested_command_is_written_by_command() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for folder in ("store", "extract", "heads", "experiments")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in unquoted(path.read_text())
    ]
    assert found == []
