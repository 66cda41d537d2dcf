"""Every help: one verb first, --quiet and --verbose, and an example at the end that parses."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from keybed.experiments.cli.command_parser import CommandParser
from keybed.experiments.cli.main import parser

VERBS = (
    *(
        "add",
        "align",
        "collect",
        "compare",
        "copy",
        "draw",
        "fetch",
        "fill",
        "fit",
        "join",
        "make",
        "pack",
        "print",
        "read",
    ),
    *("remove", "report", "score", "serve", "show", "train", "upload", "write"),
)
"""The first word of each command's help says what it does: show, report and print only look; the others make something."""


def commands(top: CommandParser, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], CommandParser]]:
    yield path, top
    for name, command in top.commands().items():
        yield from commands(command, (*path, name))


ALL = list(commands(parser()))


def test_all_commands_are_seen():
    assert {("plan",), ("phase5", "select"), ("demo",), ()} <= {path for path, _ in ALL}


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) or "keybed" for path, _ in ALL])
def test_help_ends_in_an_example_that_parses(path, command):
    text = command.format_help()
    *_, heading, example = text.rstrip("\n").splitlines()
    assert heading == "example:", f"add_command(…, example=…) of {' '.join(path)} is missing"
    words = shlex.split(example)
    assert tuple(words[: len(path) + 1]) == ("keybed", *path)
    assert callable(parser().parse_args(words[1:]).run)


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) or "keybed" for path, _ in ALL])
def test_every_command_has_quiet_and_verbose(path, command):
    text = command.format_help()
    assert "-q, --quiet" in text
    assert "-v, --verbose" in text


@pytest.mark.parametrize(("path", "command"), ALL[1:], ids=[" ".join(path) for path, _ in ALL[1:]])
def test_help_begins_with_a_verb(path, command):
    assert command.description.split()[0] in VERBS
