"""Reading derived arrays, which `keybed derive` makes: train moments, int8 views back to numbers, and their damage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.store.counted import counted
from keybed.store.disk.derived_files import derived_metadata
from keybed.store.errors import ShardDamaged
from keybed.store.format.layout import object_key
from keybed.store.read.reader import Reader

INT8_MISSING = -128
"""Value of a failed row in an int8 view; measured values lie within ±127."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Train-split mean and standard deviation of every number of `frames` or `layers`; masked bins are left out."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]


def missing_objects(reader: Reader, path: str) -> list[str]:
    """Names of the files that a derived array should have and has not; files that exist are not read."""
    folder, metadata = reader.layout.array(path), derived_metadata(reader.layout, path)
    by_row = metadata["dimension_names"][0] == "row"
    numbers = range(reader.shards.n_shards) if by_row else (0,)
    keys = [object_key(number, len(metadata["shape"])) for number in numbers]
    return [key for key in keys if not (folder / key).is_file()]


def damage(reader: Reader, path: str) -> str | None:
    """Read all of a fresh derived array; a sentence about what is damaged, or None."""
    try:
        missing = missing_objects(reader, path)
        if missing:
            return f"missing: {counted(len(missing), 'file')}, e.g. {missing[0]}"
        if reader.array(path).metadata.dimension_names[0] == "row":
            for shard in range(reader.shards.n_shards):
                reader.read(path, np.arange(*reader.shards.rows_of(shard)))
        else:
            reader.whole(path)
    except (ShardDamaged, IndexError) as error:
        return f"it cannot be decoded ({error})"
    return None


def moments(reader: Reader, encoder: str, kind: str = "frames") -> Moments:
    """Train-split moments of one encoder's `frames` (bin_stat, channel) or `layers` (stat, state, channel)."""
    base = f"derived/{encoder}/{kind}"
    return Moments(reader.whole(f"{base}_mean"), reader.whole(f"{base}_std"))


def int8_numbers(
    values: NDArray[np.int8], offset: NDArray[np.float32], scale: NDArray[np.float32]
) -> NDArray[np.float32]:
    """offset + scale × value."""
    return offset + scale * values.astype(np.float32)


def from_int8(reader: Reader, path: str, values: NDArray[np.int8]) -> NDArray[np.float32]:
    """offset + scale × value; see `Store.from_int8`."""
    numbers = int8_numbers(values, reader.whole(f"{path}_offset"), reader.whole(f"{path}_scale"))
    missing = values == INT8_MISSING
    if missing.any():
        numbers[missing] = np.nan
    return numbers
