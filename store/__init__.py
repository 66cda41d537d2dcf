"""The feature store: a folder that a team can share, filled by many tasks, read for training."""

from store.batches import Batch
from store.create import create
from store.reader import Store
from store.reader import open_store as open
from store.rows import Rows

__all__ = ["Batch", "Rows", "Store", "create", "open"]
