"""The committed shards of a store, and a check of each file before it is read."""

from __future__ import annotations

from keybed.store.disk.commits import Commit, committed, read_commit
from keybed.store.errors import Incomplete, ShardDamaged
from keybed.store.format import shards
from keybed.store.format.array_specs import ArraySpec, array_specs, plan_written
from keybed.store.format.layout import Layout, object_key
from keybed.store.format.recipe import Recipe


class CommittedShards:
    """Row ranges, commits and files of the shards of one store. Commits are read once and kept in memory."""

    def __init__(self, layout: Layout, recipe: Recipe) -> None:
        self.layout = layout
        self.fingerprint = recipe.fingerprint
        self.specs: tuple[ArraySpec, ...] = array_specs(recipe)
        self.n_rows, self.shard_rows = recipe.n_rows, recipe.shard_rows
        self.n_shards = shards.count(self.n_rows, self.shard_rows)
        self._planned = frozenset(spec.path for spec in plan_written(self.specs))
        self._commits: dict[int, Commit] = {}
        self._checked: set[tuple[int, str]] = set()

    @property
    def numbers(self) -> frozenset[int]:
        """Shards that have a commit now; the folder is listed at every call."""
        return committed(self.layout)

    def rows_of(self, shard: int) -> tuple[int, int]:
        """Rows (start, stop) of a shard. Raises IndexError for a shard that does not exist."""
        return shards.shard_range(shard, self.shard_rows, self.n_rows)

    def commit(self, shard: int) -> Commit:
        """The commit of one shard. Raises Incomplete where there is none, ShardDamaged where it is unreadable."""
        if shard not in self._commits:
            root = self.layout.root
            if not self.layout.commit_of(shard).exists():
                raise Incomplete(f"shard {shard} of {root} is not committed: `keybed extract {root} --shards {shard}`")
            self._commits[shard] = read_commit(self.layout, shard, self.fingerprint)
        return self._commits[shard]

    def forget(self, shard: int) -> None:
        """Drop what is kept in memory of a shard whose commit was removed."""
        self._commits.pop(shard, None)
        self._checked = {(checked, path) for checked, path in self._checked if checked != shard}

    def check_file(self, path: str, shard: int, rank: int) -> None:
        """Check that the file of one shard of the array at `path` exists and is as long as its commit says.

        Each (shard, array) is checked once. rank: the number of the array's dimensions. Raises Incomplete, ShardDamaged.
        """
        if (shard, path) in self._checked or path in self._planned:
            return
        root = self.layout.root
        key = f"{path}/{object_key(shard, rank)}"
        file = self.layout.features / key
        if path.startswith("derived/"):
            if not file.is_file():
                raise ShardDamaged(f"{file} is missing: `keybed derive {root}` makes it again")
            self._checked.add((shard, path))
            return
        stored = self.commit(shard).objects.get(key)
        length = file.stat().st_size if file.is_file() else None
        if stored is None or length != stored.bytes:
            actual = "missing" if length is None else f"{length} bytes long"
            raise ShardDamaged(
                f"{file} is {actual}, its commit says {f'{stored.bytes} bytes' if stored else 'nothing about it'}: run "
                f"`keybed verify {root} --repair`, then `keybed extract {root} --shards {shard}`"
            )
        self._checked.add((shard, path))
