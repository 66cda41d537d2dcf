"""Completion scripts, in real shells where they are installed."""

from __future__ import annotations

import os
import pty
import select
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from keybed.experiments.cli.completion_scripts import SCRIPTS
from keybed.experiments.cli.completion_words import command_words
from keybed.experiments.cli.main import main, parser


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, words = tmp_path_factory.mktemp("completion"), command_words(parser())
    written = {}
    for shell, script in SCRIPTS.items():
        written[shell] = folder / f"keybed.{shell}"
        written[shell].write_text(script(words))
    return written


def needs(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")


def test_the_words_are_those_of_the_parsers():
    by_path = {command.path: command for command in command_words(parser())}
    assert by_path[("phase5",)].commands == ("select", "serve", "ingest", "percepiano")
    options = {flag: option for option in by_path[("plan",)].options for flag in option.flags}
    assert options["--profile"].value == ("mixed", "tiered")
    assert options["--dry-run"].value == "none"
    assert options["--soundfont"].value == "file"
    assert options["--limit"].value == "text"
    assert "-q" in options
    assert by_path[("fetch",)].argument == ("transkun",)
    assert by_path[("info",)].argument == "file"


def bash_completes(script: Path, line: str) -> list[str]:
    """What bash offers at the end of the line; `_keybed` is called as readline calls it."""
    words = [part for word in line.split(" ") for part in word.replace("=", " = ").split(" ")]
    code = (
        f"source {shlex.quote(str(script))}\nCOMP_WORDS=({shlex.join(words)})\nCOMP_CWORD={len(words) - 1}\n"
        '_keybed\nprintf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("keybed pla", ["plan"]),
        ("keybed phase", ["phase2", "phase3", "phase4", "phase5"]),
        ("keybed -q ph", ["phase2", "phase3", "phase4", "phase5"]),
        ("keybed phase5 se", ["select", "serve"]),
        ("keybed phase5 percepiano DIR --no-h", ["--no-heads"]),
        ("keybed plan MAESTRO STORE --profile ", ["mixed", "tiered"]),
        ("keybed plan MAESTRO STORE --profile=ti", ["tiered"]),
        ("keybed plan MAESTRO STORE --dry", ["--dry-run"]),
        ("keybed fetch ", ["transkun"]),
        ("keybed extract plan --sh", ["--shards"]),
        ("keybed info ST", []),
        ("keybed completion ", ["bash", "zsh", "fish"]),
    ],
)
def test_bash_completes(scripts, line, offered):
    assert bash_completes(scripts["bash"], line) == offered


def type_into(command: list[str], keys: list[tuple[str, str]], folder: Path) -> None:
    """Type keys into a shell on a terminal; after each, its words must be shown within 20 seconds."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", "HOME": str(folder)}
    shell = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    try:
        for key, awaited in keys:
            os.write(ours, key.encode())
            shown, until = "", time.monotonic() + 20
            while awaited not in " ".join(shown.split()):
                assert time.monotonic() < until, f"after {key!r}: {shown!r}"
                if select.select([ours], [], [], 0.1)[0]:
                    shown += os.read(ours, 65536).decode(errors="replace")
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)


def test_tab_in_an_interactive_bash(scripts, tmp_path):
    (tmp_path / "my store").mkdir()
    start = f"source {scripts['bash']}; echo read''y\n"
    keys = [(start, "ready"), ("keybed veri\t", "verify"), ("my\t", "my\\ store/"), (" --rep\t", "--repair")]
    type_into(["bash", "--norc", "--noprofile", "-i"], keys, tmp_path)


def test_tab_in_an_interactive_zsh(scripts, tmp_path):
    needs("zsh")
    start = f"autoload -U compinit; compinit -u -D; source {scripts['zsh']}; echo read''y\n"
    keys = [(start, "ready"), ("keybed phase5 perc\t", "percepiano"), ("DIR --no-h\t", "--no-heads")]
    type_into(["zsh", "-f", "-i"], keys, tmp_path)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("keybed phase5 se", ["select", "serve"]),
        ("keybed plan M S --profile ", ["mixed", "tiered"]),
        ("keybed plan M S --dry", ["--dry-run"]),
        ("keybed verif", ["verify"]),
    ],
)
def test_fish_completes(scripts, line, offered):
    needs("fish")
    code = f"source {scripts['fish']}; complete -C {shlex.quote(line)}"
    done = subprocess.run(["fish", "-N", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert [word.split("\t")[0] for word in done.stdout.splitlines()] == offered


def test_the_command_prints_the_script_and_nothing_else(scripts, capsys):
    for shell in SCRIPTS:
        assert main(["completion", shell, "--quiet"]) == 0
        printed = capsys.readouterr()
        assert (printed.out, printed.err) == (scripts[shell].read_text(), "")
