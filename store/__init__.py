"""The feature store: a folder that a team can share, filled by many tasks, read for training."""

from keybed.store.format.rows import Rows
from keybed.store.read.batches import Batch
from keybed.store.read.store import Store
from keybed.store.read.store import open_store as open
from keybed.store.write.create import create

__all__ = ["Batch", "Rows", "Store", "create", "open"]
