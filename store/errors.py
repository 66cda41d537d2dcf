"""Named errors of the store: each says what happened, where, and what to do."""

from __future__ import annotations


class KeybedError(Exception):
    """Base of every error that Keybed raises on purpose; the command line prints it without a traceback."""


class StoreError(KeybedError):
    """Something is wrong with a store, or with how it was asked."""


class NotAStore(StoreError):
    """The folder is not a Keybed store, or only part of one."""


class NewerFormat(StoreError):
    """The store was written by a newer Keybed than this one can read."""


class RecipeMismatch(StoreError):
    """A store was opened with another recipe than it was planned with; the message names every difference."""


class ShardRefused(StoreError):
    """A write that is not exactly one whole shard of every task-written array."""


class ShardBusy(StoreError):
    """Another live task holds the claim on this shard."""


class ClaimLost(StoreError):
    """This task's claim was taken over by another one; nothing more may be written."""


class ShardDamaged(StoreError):
    """What lies on disk is not what its commit says."""


class Incomplete(StoreError):
    """Rows were asked for that no task has committed yet."""


class NoSuchFeature(StoreError):
    """The store holds no such array; the message lists those it has."""


class NoDiskSpace(StoreError):
    """The disk has less room than the store will need."""


class AlreadyCommitted(ShardBusy):
    """The shard is whole already; there is nothing to do."""


class ReadOnlyStore(StoreError):
    """Something was to be written, and the folder does not allow it."""


class PlanRefused(StoreError):
    """Plan-written columns, split ranges or recordings that do not fit the recipe."""


class StaleDerived(StoreError):
    """A derived array was made from other data than the store holds now."""


class ClaimTrouble(UserWarning):
    """A claim could not be refreshed this time; it is tried again."""
