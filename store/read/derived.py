"""What `keybed derive` makes, as readers see it: names, sources, freshness, and int8 back to numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.store.errors import ShardDamaged, StaleDerived
from keybed.store.format.layout import Layout, object_key
from keybed.store.format.recipe import fingerprint
from keybed.store.read.store import Store

INT8_MISSING = -128
"""What a failed row holds in an int8 view; measured values lie within ±127."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Train-split mean and standard deviation of every number of `frames` or `layers`, masked bins left out."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]


def source_fingerprint(store: Store, sources: tuple[str, ...]) -> str:
    """sha256 over the recipe and the checksums of all shards of these arrays. Raises Incomplete."""
    checksums = [
        store.commit(shard).objects[f"{path}/{object_key(shard, len(store.array(path).shape))}"].sha256
        for path in sources
        for shard in range(store.n_shards)
    ]
    return fingerprint([store.fingerprint, list(sources), checksums])


def attributes(store: Store, path: str) -> dict[str, Any]:
    """Attributes of one array, from its metadata file."""
    metadata = json.loads((Layout(store.path).array(path) / "zarr.json").read_bytes())
    found: dict[str, Any] = metadata["attributes"]
    return found


def derived_arrays(store: Store) -> list[str]:
    """Paths of all derived arrays, the small ones included, fresh or not."""
    folder = Layout(store.path).features
    found = sorted((folder / "derived").rglob("zarr.json"))
    arrays = [file.parent for file in found if json.loads(file.read_bytes())["node_type"] == "array"]
    return [path.relative_to(folder).as_posix() for path in arrays]


def missing_objects(store: Store, path: str) -> list[str]:
    """Files of a derived array that should be there and are not; no byte of the others is read."""
    folder = Layout(store.path).array(path)
    metadata = json.loads((folder / "zarr.json").read_bytes())
    by_row = metadata["dimension_names"][0] == "row"
    keys = [object_key(shard, len(metadata["shape"])) for shard in (range(store.n_shards) if by_row else (0,))]
    return [key for key in keys if not (folder / key).is_file()]


def damage(store: Store, path: str) -> str | None:
    """What is wrong with the bytes of a fresh derived array, all of which are read; None where nothing is."""
    missing = missing_objects(store, path)
    if missing:
        return f"{len(missing)} files are missing, e.g. {missing[0]}"
    array = store.array(path)
    try:
        if array.metadata.dimension_names[0] == "row":
            for shard in range(store.n_shards):
                store.read(path, np.arange(*store.shard_range(shard)))
        else:
            array[...]
    except (RuntimeError, ValueError, OSError, ShardDamaged) as error:
        return f"it cannot be decoded ({error})"
    return None


def check_fresh(store: Store, path: str) -> None:
    """Raises StaleDerived where the arrays that this one was made from have changed since."""
    about = attributes(store, path)
    if about["source_fingerprint"] != source_fingerprint(store, tuple(about["sources"])):
        raise StaleDerived(
            f"{path} was made from other data than lies in {store.path} now ({', '.join(about['sources'])}): "
            f"`keybed derive {store.path}` makes it again"
        )


def moments(store: Store, encoder: str, kind: str = "frames") -> Moments:
    """Train-split moments of one encoder's `frames` (bin_stat, channel) or `layers` (stat, state, channel)."""
    base = f"derived/{encoder}/{kind}"
    return Moments(store.array(f"{base}_mean")[...], store.array(f"{base}_std")[...])


def from_int8(store: Store, path: str, values: NDArray[np.int8]) -> NDArray[np.float32]:
    """offset + scale × value of an int8 view read whole along (bin_stat, channel); failed rows become NaN."""
    offset, scale = store.array(f"{path}_offset")[...], store.array(f"{path}_scale")[...]
    numbers = offset + scale * values.astype(np.float32)
    missing = values == INT8_MISSING
    if missing.any():
        numbers[missing] = np.nan
    return numbers
