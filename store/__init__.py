"""The feature store: a folder of encoder features and labels that many tasks fill and that training reads.

Public names: `open(path)` → `Store`; `Store.rows` → `Rows`; `Store.batches` → `Batch`; `create`. Zarr is loaded when the
first array is opened.
"""

from keybed.store.format.rows import Rows
from keybed.store.read.batches import Batch
from keybed.store.read.opening import open_store as open
from keybed.store.read.store import Store
from keybed.store.write.create import create

__all__ = ["Batch", "Rows", "Store", "create", "open"]
