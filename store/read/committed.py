"""The committed shards of a store, and a check of each file before it is read."""

from __future__ import annotations

from dataclasses import replace

from keybed.store.command import command
from keybed.store.disk.commits import Commit, committed, read_commit
from keybed.store.disk.durable import sha256_of
from keybed.store.disk.layer_files import dropped_names, still_there
from keybed.store.disk.planned_files import PlannedFiles
from keybed.store.errors import EncoderDropped, Incomplete, ShardDamaged
from keybed.store.format import shards
from keybed.store.format.array_specs import array_specs, plan_written
from keybed.store.format.layer import Layer, without
from keybed.store.format.layout import Layout, object_key
from keybed.store.format.recipe import Recipe


class CommittedShards:
    """Row ranges, commits and files of the shards of one store. Commits are read once and kept in memory.

    They are those of the rows and of the encoders planned with them, or, with `layer`, those of one added layer.
    dropped: planned encoders whose arrays have been removed; the commits still list them.
    """

    def __init__(
        self,
        layout: Layout,
        recipe: Recipe,
        planned_files: PlannedFiles,
        *,
        layer: Layer | None = None,
        dropped: frozenset[str] = frozenset(),
    ) -> None:
        self.layout = layout.of_layer(None if layer is None else layer.name)
        self.planned_files = planned_files
        self.layer, self.recipe = layer, recipe
        self.n_rows, self.shard_rows = recipe.n_rows, recipe.shard_rows
        if layer is None:
            self.fingerprint = recipe.fingerprint
            self.specs = array_specs(replace(recipe, encoders=without(recipe, dropped)))
        else:
            self.fingerprint, self.specs = layer.fingerprint, layer.specs(self.n_rows, self.shard_rows)
        gone = () if layer is not None else (encoder for encoder in recipe.encoders if encoder.name in dropped)
        self.dropped_groups = tuple(f"{encoder.group}/" for encoder in gone)
        self.n_shards = shards.count(self.n_rows, self.shard_rows)
        self._planned = frozenset(spec.path for spec in plan_written(self.specs))
        self._commits: dict[int, Commit] = {}
        self._checked: set[tuple[int, str]] = set()

    @property
    def numbers(self) -> frozenset[int]:
        """Shards of this store that have a commit now; the folder is listed at every call."""
        return frozenset(shard for shard in committed(self.layout) if shard < self.n_shards)

    def rows_of(self, shard: int) -> tuple[int, int]:
        """Rows (start, stop) of a shard. Raises IndexError for a shard that does not exist."""
        return shards.shard_range(shard, self.shard_rows, self.n_rows)

    def commit(self, shard: int) -> Commit:
        """The commit of one shard. Raises Incomplete where there is none, ShardDamaged where it is unreadable."""
        if shard not in self._commits:
            root = self.layout.root
            if self.layer is not None and not still_there(self.layout, self.layer):
                raise EncoderDropped(f"{self.layer.name} was dropped from {root} meanwhile, or added anew")
            if not self.layout.commit_of(shard).exists():
                raise Incomplete(f"{self.named(shard)} of {root} is not committed: `{self.extract_command(shard)}`")
            self._commits[shard] = read_commit(self.layout, shard, self.fingerprint)
        return self._commits[shard]

    def named(self, shard: int) -> str:
        """`shard 3`, or `shard 3 of layer muq`."""
        return f"shard {shard}" if self.layer is None else f"shard {shard} of layer {self.layer.name}"

    def extract_command(self, shards: int | str) -> str:
        """The command that makes these shards."""
        option = () if self.layer is None else ("--layer", self.layer.name)
        return command("extract", self.layout.root, *option, "--shards", shards)

    def forget(self, shard: int) -> None:
        """Drop what is kept in memory of a shard whose commit was removed."""
        self._commits.pop(shard, None)
        self._checked = {(checked, path) for checked, path in self._checked if checked != shard}

    def check_file(self, path: str, shard: int, rank: int, *, by_chunks: bool) -> str | None:
        """Check that the file of one shard of the array at `path` is the committed one; each is checked once.

        by_chunks: the caller compares each chunk with the checksums that are returned, so that the file's length is
        enough here. Otherwise, and where the commit has no such checksums, the whole file is read and compared. rank: the
        number of the array's dimensions. Raises Incomplete, ShardDamaged.
        """
        if path in self._planned:  # the whole column lies in one file
            self.planned_files.check(f"features.zarr/{path}/{object_key(0, rank)}")
            return None
        key = f"{path}/{object_key(shard, rank)}"
        stored = self.commit(shard).objects.get(key)
        if stored is not None:
            self.planned_files.bring(f"features.zarr/{key}", (stored.bytes, stored.sha256))
        chunks = stored.chunks if stored is not None and by_chunks and stored.chunks else None
        if (shard, path) in self._checked:
            return chunks
        file, root = self.layout.features / key, self.layout.root
        length = file.stat().st_size if file.is_file() else None
        wrong = None
        if stored is None or length != stored.bytes:
            actual = "missing" if length is None else f"{length} bytes long"
            wrong = f"is {actual}, its commit says {f'{stored.bytes} bytes' if stored else 'nothing about it'}"
        elif chunks is None and sha256_of(file) != stored.sha256:
            wrong = "is not the file that was committed (sha256 differs)"
        if wrong is not None:
            if self._is_gone(path):
                raise EncoderDropped(f"{root} holds no {path} now: its encoder was dropped meanwhile, or added anew")
            raise ShardDamaged(
                f"{file} {wrong}: run `{command('verify', root, '--repair')}`, then `{self.extract_command(shard)}`"
            )
        self._checked.add((shard, path))
        return chunks

    def _is_gone(self, path: str) -> bool:
        """Whether the encoder of the array at `path` was dropped since the store was opened."""
        if self.layer is not None:
            return not still_there(self.layout, self.layer)
        return path.split("/")[1] in dropped_names(self.layout, self.recipe)
