"""Named errors of the heads: each says what happened, where, and what to do."""

from __future__ import annotations


class HeadsError(Exception):
    """Base of every error that the heads raise on purpose."""


class BadInput(HeadsError):
    """The arrays or the configuration cannot be trained on; the message says which and what to change."""


class NotFinite(HeadsError):
    """A loss, a statistic or a prediction became NaN or infinite; the message names the rows, and of a loss step, heads and seeds."""


class CheckpointMismatch(HeadsError):
    """A checkpoint or a fit belongs to another store, configuration or version; the message names both sides."""
