"""Named errors of the store. Each message says what happened, where, and what to do."""

from __future__ import annotations


class KeybedError(Exception):
    """Base of every error that Keybed raises on purpose; the command line prints it without a traceback."""


class StoreError(KeybedError):
    """Something is wrong with a store or with a request to it."""


class NotAStore(StoreError):
    """The folder is not a Keybed store, or only part of one."""


class NewerFormat(StoreError):
    """The store has a newer format than this Keybed can read."""


class RecipeMismatch(StoreError):
    """The store was planned with another recipe; the message names every difference."""


class ShardRefused(StoreError):
    """Arrays offered for writing are not exactly one whole shard, or break a rule."""


class ShardBusy(StoreError):
    """Another live task holds the claim on this shard."""


class ClaimLost(StoreError):
    """Another task has taken over this task's claim; this task may write no more."""


class ShardDamaged(StoreError):
    """Files on disk differ from their commit or cannot be decoded."""


class Incomplete(StoreError):
    """Rows were requested that no task has committed yet."""


class NoSuchFeature(StoreError):
    """The store has no such array; the message lists those it has."""


class EncoderDropped(NoSuchFeature):
    """The encoder was dropped from the store after it was opened."""


class NoDiskSpace(StoreError):
    """The disk is full, or has less free space than is needed."""


class AlreadyCommitted(ShardBusy):
    """The shard is committed already, so that there is nothing to do."""


class ReadOnlyStore(StoreError):
    """A file could not be written because the store is read-only for this user."""


class PlanRefused(StoreError):
    """Plan-written columns, split ranges or recordings do not fit the recipe."""


class StaleDerived(StoreError):
    """A derived array was made from other data than the store holds now."""


class ClaimTrouble(UserWarning):
    """A claim could not be refreshed this time; the task tries again."""
