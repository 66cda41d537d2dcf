"""Reading a store: `Store` for users; below it the committed shards, the reader of arrays, batches and derived arrays."""

from keybed.store.read.batches import Batch
from keybed.store.read.committed import CommittedShards
from keybed.store.read.derived import Moments
from keybed.store.read.opening import open_store
from keybed.store.read.reader import Reader
from keybed.store.read.store import Store

__all__ = ["Batch", "CommittedShards", "Moments", "Reader", "Store", "open_store"]
