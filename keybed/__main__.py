"""The command `keybed`, also `python -m keybed`: the command line, and the end of its process."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, NoReturn

INTERRUPTED = 128 + signal.SIGINT
PIPE_CLOSED = 128 + signal.SIGPIPE


def run() -> NoReturn:
    """Run the command line and end the process with its status, without a traceback for Ctrl-C or a closed pipe."""
    sys.unraisablehook = _interrupt_again
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may hold bytes that are no text
    try:
        from keybed.experiments.cli.main import main

        try:
            status: str | int | None = main()
        except SystemExit as usage:  # help, or wrong arguments
            status = usage.code
        sys.stdout.flush()
    except KeyboardInterrupt:  # while a library was being imported
        print("keybed: stopped", file=sys.stderr)
        status = INTERRUPTED
    except BrokenPipeError:
        status = PIPE_CLOSED
    if status == PIPE_CLOSED:
        # Nothing reads what is left; Python would print an error when it flushes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if status == INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if "jax" in sys.modules:
            # A thread of XLA may still compile. Python's own end would free what it uses, and the process would crash.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(INTERRUPTED)
    sys.exit(status)


def _interrupt_again(lost: Any) -> None:
    """Raise a KeyboardInterrupt again that came where Python drops it: in a callback of the garbage collector or a `__del__`."""
    if lost.exc_type is KeyboardInterrupt:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
    else:
        sys.__unraisablehook__(lost)


if __name__ == "__main__":
    run()
