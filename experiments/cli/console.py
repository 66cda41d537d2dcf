"""The terminal that commands print on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def terminal(*, highlight: bool = True) -> Console:
    """A console that prints text as it is: `[bold]` and `:smile:` in a path stay, and long paths are not broken.

    What is to be bold is printed with `style=`, or as a `rich.text.Text`.
    """
    from rich.console import Console

    return Console(soft_wrap=True, markup=False, emoji=False, highlight=highlight)
