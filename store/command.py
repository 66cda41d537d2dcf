"""Commands that messages suggest, written so that a shell reads them as they are meant."""

from __future__ import annotations

import shlex
from pathlib import Path


def command(*words: str | Path | int) -> str:
    """A command of Keybed to paste into a shell: command("extract", store) is `keybed extract 'my store'`."""
    return shell_line("keybed", *words)


def shell_line(*words: str | Path | int) -> str:
    """A command to paste into a shell. Every word is quoted where it needs to be.

    A path that begins with "-" gets "./" before it, or it would be an option.
    """
    return shlex.join(
        f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word) for word in words
    )
