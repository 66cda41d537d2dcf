"""Files on disk: durable writes, Zarr arrays, sharded chunks and commit records."""

from keybed.store.disk.commits import Commit, StoredObject, committed, read_commit
from keybed.store.disk.durable import (
    canonical,
    disk_error,
    replace_file,
    server_now,
    sha256_of,
    sync_folder,
    sync_tree,
    write_aside,
    write_durably,
)

__all__ = [
    "Commit",
    "StoredObject",
    "canonical",
    "committed",
    "disk_error",
    "read_commit",
    "replace_file",
    "server_now",
    "sha256_of",
    "sync_folder",
    "sync_tree",
    "write_aside",
    "write_durably",
]
