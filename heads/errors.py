"""Errors of the heads. Each message says what happened, where, and what to do."""

from __future__ import annotations


class HeadsError(Exception):
    """Base class of all errors that the heads raise on purpose."""


class BadInput(HeadsError):
    """Arrays or a configuration cannot be used; the message names them and says what to change."""


class NotFinite(HeadsError):
    """A loss, statistic or prediction is NaN or infinite; the message names the rows, and for a loss the step, heads and seeds."""


class CheckpointMismatch(HeadsError):
    """A checkpoint or fit belongs to another store, configuration or version; the message names both sides."""


class FileDamaged(HeadsError):
    """A checkpoint or fit is cut, empty or altered on disk; the message names the file and what to delete."""


class CannotWrite(HeadsError):
    """A checkpoint or fit cannot be written: the disk is full or the folder is read-only."""
