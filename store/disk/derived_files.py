"""Files of derived arrays: each array's own metadata hold the checksums of its files, and of themselves.

A derived array is the folder `features.zarr/derived/ENCODER/NAME`. `keybed derive` makes it again where it is damaged, so
no other record is kept. Arrays of version 0.1 have no checksums; their chunks are still checked one by one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keybed.store.command import command
from keybed.store.disk.durable import canonical, sha256_of
from keybed.store.disk.json_files import read_json_object
from keybed.store.errors import ShardDamaged
from keybed.store.format.layout import Layout, object_key

PATH, CHECKSUMS, METADATA = "path", "checksums", "metadata_sha256"
"""Attributes: the array's own path; file → sha256, or the checksums of its chunks; the sha256 of the metadata without this."""


def seal_derived(group: Path, path: str, checksums: Mapping[str, str]) -> None:
    """Add the checksums of all files to the metadata of the finished array at `path` in the Zarr group."""
    file = group / path / "zarr.json"
    metadata = json.loads(file.read_bytes())
    metadata["attributes"] |= {PATH: path, CHECKSUMS: dict(checksums)}
    metadata["attributes"][METADATA] = _digest(metadata)
    file.write_bytes(json.dumps(metadata, indent=2).encode())


def derived_paths(layout: Layout) -> list[str]:
    """Paths of all derived arrays, whole or damaged, by a listing of folders."""
    folders = (layout.features / "derived").glob("*/*")
    return sorted(folder.relative_to(layout.features).as_posix() for folder in folders if folder.is_dir())


def derived_groups(layout: Layout) -> list[str]:
    """Paths of the groups that hold derived arrays: `derived` and `derived/ENCODER`."""
    parents = {Path(path).parent for path in derived_paths(layout)}
    return sorted({path.as_posix() for parent in parents for path in (parent, parent.parent)})


def derived_metadata(layout: Layout, path: str) -> dict[str, Any]:
    """The metadata of a derived array. Raises ShardDamaged where they are unreadable, changed or of another kind."""
    file = layout.array(path) / "zarr.json"
    try:
        metadata = read_json_object(file)
        attributes = metadata["attributes"]
        if len({name in attributes for name in (PATH, CHECKSUMS, METADATA)}) > 1:
            raise ValueError("it lacks a checksum")
        if attributes.get(PATH, path) != path:
            raise ValueError(f"it belongs to {attributes[PATH]}")
        if METADATA in attributes and attributes[METADATA] != _digest(metadata):
            raise ValueError("its checksum does not match its content")
        if metadata["node_type"] != "array" or not len(metadata["shape"]) == len(metadata["dimension_names"]) > 0:
            raise ValueError("it is not the metadata of an array with named axes")
        checksums = attributes.get(CHECKSUMS, {})
        if not all(isinstance(text, str) for text in checksums.values()):
            raise ValueError("its checksums are no text")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ShardDamaged(f"{file} cannot be read ({error}): {derive_again(layout)}") from error
    return metadata


def derived_attributes(layout: Layout, path: str) -> dict[str, Any]:
    """The attributes of a derived array. Raises ShardDamaged."""
    attributes: dict[str, Any] = derived_metadata(layout, path)["attributes"]
    return attributes


def has_rows(layout: Layout, path: str) -> bool:
    """True for a readable derived array with one entry per row."""
    try:
        return bool(derived_metadata(layout, path)["dimension_names"][0] == "row")
    except ShardDamaged:
        return False


@dataclass(frozen=True)
class DerivedFiles:
    """The recorded checksums of one derived array by file name; empty for an array of version 0.1."""

    layout: Layout
    path: str
    checksums: Mapping[str, str]
    _checked: set[str] = field(default_factory=set)

    def check(self, shard: int, rank: int, *, by_chunks: bool) -> str | None:
        """Check one file; returns the checksums of its chunks where the caller compares them. Raises ShardDamaged."""
        key = object_key(shard, rank)
        recorded = self.checksums.get(key)
        chunks = recorded if by_chunks else None
        if key not in self._checked:
            file = self.layout.array(self.path) / key
            if not file.is_file():
                raise ShardDamaged(f"{file} is missing: {derive_again(self.layout)}")
            if recorded is not None and chunks is None and sha256_of(file) != recorded:
                raise ShardDamaged(
                    f"{file} has changed since it was made (sha256 differs): {derive_again(self.layout)}"
                )
            self._checked.add(key)
        return chunks


def checksums_of(layout: Layout, path: str) -> DerivedFiles:
    """The checksums of one derived array. Raises ShardDamaged."""
    return DerivedFiles(layout, path, derived_attributes(layout, path).get(CHECKSUMS, {}))


def derive_again(layout: Layout) -> str:
    """What to do about a damaged derived array."""
    return (
        f"`{command('verify', layout.root, '--repair')}` removes it, `{command('derive', layout.root)}` makes it again"
    )


def _digest(metadata: Mapping[str, Any]) -> str:
    attributes = {key: value for key, value in metadata["attributes"].items() if key != METADATA}
    return hashlib.sha256(canonical({**metadata, "attributes": attributes})).hexdigest()
