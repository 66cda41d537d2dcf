"""Paths of all files and folders of a store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LAYER_RECORD, DROPPED, DROPPING = ".json", ".dropped", ".dropping"
"""Suffixes in `layers/`: an added layer, a planned encoder that was dropped, an added layer that is being dropped."""


@dataclass(frozen=True)
class Layout:
    """Paths under one store's root; nothing here touches the disk.

    layer: an encoder that was added to the store. Claims, commits and logs of its shards lie in folders of its name.
    None: the rows and the encoders that were planned with them.
    """

    root: Path
    layer: str | None = None

    def of_layer(self, layer: str | None) -> Layout:
        """The same store's paths for another layer."""
        return Layout(self.root, layer)

    @property
    def layers(self) -> Path:
        """Folder of the records of added and dropped encoders; absent in a store that was never extended."""
        return self.root / "layers"

    @property
    def layer_record(self) -> Path:
        """The record of this layer; the layer exists while it does."""
        return self.layers / f"{self.layer}{LAYER_RECORD}"

    @property
    def recipe(self) -> Path:
        """The recipe (everything that shapes a number) and its fingerprint."""
        return self.root / "recipe.json"

    @property
    def recordings(self) -> Path:
        """The recordings and their pieces."""
        return self.root / "recordings.json"

    @property
    def machine_paths(self) -> Path:
        """Paths of corpus, soundfont and weights on this machine; not part of the recipe."""
        return self.root / "places.json"

    @property
    def features(self) -> Path:
        """The Zarr v3 group."""
        return self.root / "features.zarr"

    @property
    def notes(self) -> Path:
        """Folder of the recordings' parsed notes."""
        return self.root / "notes"

    @property
    def claims(self) -> Path:
        """Folder of claims: which task works on which shard."""
        return self._of_layer("claims")

    @property
    def commits(self) -> Path:
        """Folder of commits: the records that shards are whole."""
        return self._of_layer("commits")

    @property
    def logs(self) -> Path:
        """Folder of logs: hosts, times and kinds of machine."""
        return self._of_layer("logs")

    def _of_layer(self, folder: str) -> Path:
        return self.root / folder if self.layer is None else self.root / folder / self.layer

    @property
    def plan_commit(self) -> Path:
        """Checksums of everything that `create`, or `extend` for this layer, wrote."""
        return self.commits / "plan.json"

    @property
    def rooms(self) -> Path:
        """Impulse responses of a store with rooms; extraction reads them beside the notes."""
        return self.notes / "rooms.npy"

    def notes_of(self, recording: int) -> Path:
        """Notes and pedal of one recording, e.g. `notes/00017.npz`."""
        return self.notes / f"{recording:05d}.npz"

    def claim_of(self, shard: int | None) -> Path:
        """Claim of one shard; None: of the folder `layers/`, held while an encoder is added or dropped."""
        return self.claims / ("layers.json" if shard is None else f"{shard:06d}.json")

    def commit_of(self, shard: int) -> Path:
        """Commit of one shard."""
        return self.commits / f"{shard:06d}.json"

    def log_of(self, shard: int) -> Path:
        """Log of the task that committed one shard."""
        return self.logs / f"{shard:06d}.json"

    def failure_of(self, shard: int) -> Path:
        """Log of the last task that failed on one shard; removed by its commit."""
        return self.logs / f"{shard:06d}.failed.json"

    def array(self, path: str) -> Path:
        """Folder of one Zarr array."""
        return self.features / path


def object_key(shard: int, rank: int) -> str:
    """File name of a shard in an array of this rank, e.g. `c.17.0.0`: one file per shard and array."""
    return ".".join(["c", str(shard), *["0"] * (rank - 1)])
