"""The command line `keybed`: build a frozen configuration from the arguments, run one command, print errors in one line."""

from __future__ import annotations

import argparse
import errno
import sys
import time
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from keybed.experiments.cli import completion, demo, extraction, fetch, hearing, phases, scoring, sharing, slurm, stores
from keybed.experiments.cli import listening as rating
from keybed.experiments.cli.command_parser import CommandParser
from keybed.experiments.cli.extras import what_to_install
from keybed.experiments.cli.output import Document, only_what_is_asked_for, print_document, work_line
from keybed.store.command import command
from keybed.store.errors import KeybedError

_CONTINUED = ("extract", "join", "drop", "derive", "phase2", "phase3", "phase4", "window-check", "curve", "demo")
"""Commands that keep what a stopped run has made, and go on from there."""
_ADVICE = {
    errno.ENOSPC: "free some disk space, then run the same command again",
    errno.EDQUOT: "free some of the quota, then run the same command again",
    errno.EROFS: "the disk is read-only; give another folder",
    errno.EACCES: "it belongs to another user, or its folder may not be searched",
    errno.EPERM: "it belongs to another user",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "check the path",
    errno.ELOOP: "check the path",
    errno.ENAMETOOLONG: "give a shorter path",
    errno.EMFILE: "raise the limit of open files (ulimit -n 4096), then run the same command again",
    errno.ENFILE: "the machine has too many open files; run the same command again later",
    errno.ENOMEM: "memory ran out; give the command more of it",
    errno.EIO: "the disk or its link is failing",
    errno.ESTALE: "the file server lost the file; run the same command again",
    errno.ETIMEDOUT: "the file server does not answer; run the same command again",
}


class _Version(argparse.Action):
    """Look the version up only where it is asked for."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(nargs=0, default=argparse.SUPPRESS, **settings)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(f"keybed {version('keybed')}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; every subcommand sets `run`, a function of the parsed arguments."""
    top = CommandParser(
        prog="keybed",
        description="Compute frozen audio and MIDI features of degraded piano performances once, and train small heads on them often.",
        example="demo",
    )
    top.set_defaults(quiet=False, verbose=False)
    top.add_argument("--version", action=_Version, help="print the version and exit")
    subcommands = top.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    for group in (fetch, extraction, stores, sharing, phases, scoring, hearing, rating, slurm, demo):
        group.register(subcommands)
    completion.register(subcommands, top)
    return top


def _explained() -> tuple[type[Exception], ...]:
    # Only a command that trains has loaded `heads`, whose errors share no base class with the store's.
    trained = sys.modules.get("keybed.heads.errors")
    return (KeybedError,) if trained is None else (KeybedError, trained.HeadsError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Without arguments, list the commands. Exit status: 0 done, 1 an error that is explained in one line, 2 wrong usage, 128 + number of the signal that stopped it.

    `keybed.__main__.run` calls it and ends the process.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    if not words:
        parser().print_help()
        return 0
    top = parser()
    options = top.parse_args(words)
    if options.quiet and options.verbose:
        top.error("--quiet and --verbose exclude each other")
    began = time.perf_counter()
    with only_what_is_asked_for(options):
        done = _run(options, words)
    if getattr(options, "json", False):
        print_document(options.command, done.content)
    if options.verbose:
        print(work_line(began), file=sys.stderr)
    return done.status


def _run(options: argparse.Namespace, words: Sequence[str]) -> Document:
    """Run the command; what it made, or the error that stopped it, which is printed."""
    try:
        done: Document | int | None = options.run(options)
    except _explained() as error:
        return _failed(str(error), options)
    except ModuleNotFoundError as error:
        if (advice := what_to_install(error)) is None:
            raise
        return _failed(advice, options)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _failed(_in_words(error), options)
    except MemoryError:
        return _failed("memory ran out: give the command more of it, then run the same command again", options)
    except KeyboardInterrupt:
        again = "to go on" if options.command in _CONTINUED else "to begin again"
        print(f"keybed: stopped; {again}: {command(*words)}", file=sys.stderr)
        return Document({"error": "stopped"}, 130)
    return done if isinstance(done, Document) else Document({}, done or 0)


def _failed(message: str, options: argparse.Namespace) -> Document:
    """Print the error; with --verbose, below where it arose."""
    if options.verbose:
        traceback.print_exc(file=sys.stderr)
    print(f"keybed: {message}", file=sys.stderr)
    return Document({"error": message}, 1)


def _in_words(error: OSError) -> str:
    """The file, what the system says of it, and what to do; the line of code where the error names no file."""
    if error.filename is not None:
        where = str(error.filename)
    else:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{frame.filename}, line {frame.lineno}"
    advice = _ADVICE.get(error.errno or 0)
    return f"{where}: {error.strerror or error}" + (f"; {advice}" if advice else "")


if __name__ == "__main__":
    sys.exit(main())
