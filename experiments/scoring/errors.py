"""Errors of scoring. Each message says what is wrong with the input, and what to do."""

from __future__ import annotations

from keybed.store.errors import KeybedError


class CannotScore(KeybedError):
    """A recording that cannot be scored: unreadable, without notes, or with sound that does not fit its notes."""
