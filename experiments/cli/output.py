"""What a command prints, and where: --quiet, --verbose and --json, for all commands alike."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple


class Document(NamedTuple):
    """What a command with --json returns: the JSON document that it prints, and its exit status."""

    content: dict[str, Any]
    status: int = 0


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json to a command, whose function then returns a `Document` where `options.json` is set."""
    parser.add_argument("--json", action="store_true", help="print one JSON document, and nothing else on stdout")


@contextmanager
def only_what_is_asked_for(options: argparse.Namespace) -> Iterator[None]:
    """Keep stdout for a JSON document, or for nothing with --quiet.

    With --json, progress and messages go to stderr. Commands whose product is what they print have `prints` set; --quiet
    does not take that away.
    """
    if options.quiet and not getattr(options, "prints", False):
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            yield
    elif getattr(options, "json", False):
        with redirect_stdout(sys.stderr):
            yield
    else:
        yield


def print_document(command: str, content: dict[str, Any]) -> None:
    """Print one JSON document in ASCII, which every terminal and pipe can carry; NaN and infinities are null."""
    from keybed.experiments.data.json_codec import plain

    whole = {"command": command, "keybed": version("keybed"), **plain(content)}
    print(json.dumps(whole, indent=1, allow_nan=False))


_NAMED = ("numpy", "zarr", "dask", "torch", "transformers", "jax", "flax", "optax")


def work_line(began: float) -> str:
    """Versions, time since `began` (of time.perf_counter), CPU time with that of child processes, and largest memory."""
    loaded = [f"{name} {version(name)}" for name in _NAMED if name in sys.modules]
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    versions = ", ".join([f"keybed {version('keybed')}", f"Python {platform.python_version()}", *loaded])
    return (
        f"{versions}; {time.perf_counter() - began:.1f} s, {cpu_s:.1f} s of CPU time, "
        f"at most {own.ru_maxrss / 1024:,.0f} MiB in this process"
    )
