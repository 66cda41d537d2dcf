"""phase2, phase3, phase4, compare, report: the questions asked of a filled store."""

from __future__ import annotations

from typing import Any


def register(subcommands: Any) -> None:
    """Add this group's subcommands."""
