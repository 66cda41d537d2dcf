"""Checksums of the files that `create` wrote, from `commits/plan.json`: each is compared before the file is used."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from keybed.store.command import command
from keybed.store.disk.durable import sha256_of
from keybed.store.disk.json_files import read_json_object, sealed, unsealed
from keybed.store.errors import NotAStore, ShardDamaged
from keybed.store.format.array_specs import ArraySpec, plan_written
from keybed.store.format.layout import Layout, object_key
from keybed.store.format.recipe import fingerprint

_HEX = re.compile(r"[0-9a-f]{64}")


class PlannedFiles:
    """The recorded checksums by path within the store. Each file is compared once; nothing is written.

    Without a readable `commits/plan.json` (objects None, for `verify`) every comparison passes. bring(path within the store,
    its bytes and sha256 or None) is called before a file is looked at: the mirror of a remote store fetches it then.
    """

    def __init__(self, layout: Layout, objects: Mapping[str, tuple[int, str]] | None) -> None:
        self.layout = layout
        self.objects = objects
        self.bring: Callable[[str, tuple[int, str] | None], None] = _here_already
        self._checked: set[str] = set()

    @staticmethod
    def read(layout: Layout, recipe: str) -> PlannedFiles:
        """Read `commits/plan.json`. recipe: fingerprint of the store's recipe. Raises NotAStore."""
        try:
            objects = read_plan(layout, recipe)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise NotAStore(f"{layout.plan_commit} cannot be read ({error}): {way_out(layout)}") from error
        return PlannedFiles(layout, objects)

    def check(self, name: str) -> None:
        """Raise ShardDamaged unless the file at this path within the store is the one that was planned."""
        if self.objects is None:
            return
        if name in self.objects:
            self.bring(name, self.objects[name])
        if name in self._checked:
            return
        if name not in self.objects:
            raise ShardDamaged(f"{self.layout.root}: commits/plan.json does not list {name}: {way_out(self.layout)}")
        if self.differs(name):
            raise ShardDamaged(
                f"{self.layout.root / name} is not what `keybed plan` wrote (sha256 differs): {way_out(self.layout)}"
            )
        self._checked.add(name)

    def differs(self, name: str) -> bool:
        """True where a listed file is missing or has other bytes than were planned."""
        assert self.objects is not None
        length, digest = self.objects[name]
        file = self.layout.root / name
        try:
            return file.stat().st_size != length or sha256_of(file) != digest
        except OSError:
            return True

    def notes_sha256_of(self, recordings: Iterable[int]) -> dict[int, str] | None:
        """Recording → checksum of its notes, for those that have notes; None where the plan cannot be read."""
        if self.objects is None:
            return None
        names = {number: self.layout.notes_of(number).relative_to(self.layout.root).as_posix() for number in recordings}
        return {number: self.objects[name][1] for number, name in names.items() if name in self.objects}

    def inputs(self, specs: Iterable[ArraySpec], recordings: Iterable[int]) -> str | None:
        """Fingerprint of what a shard is made from: recordings.json, planned columns and notes of these recordings.

        None where the plan cannot be read.
        """
        notes = self.notes_sha256_of(sorted(set(recordings)))
        if self.objects is None or notes is None:
            return None
        names = ["recordings.json", *planned_columns(specs)]
        digests = {name: self.objects[name][1] for name in names if name in self.objects}
        return fingerprint({**digests, **{f"notes/{number}": digest for number, digest in notes.items()}})


def _here_already(name: str, expected: tuple[int, str] | None) -> None:
    """What a store on this machine's disk needs before a file is read: nothing."""


def planned_columns(specs: Iterable[ArraySpec]) -> list[str]:
    """Paths within the store of the data files of the plan-written columns."""
    return [f"features.zarr/{spec.path}/{object_key(0, len(spec.shape))}" for spec in plan_written(specs)]


def read_plan(layout: Layout, recipe: str) -> dict[str, tuple[int, str]]:
    """Path within the store → (bytes, sha256). Raises OSError, ValueError, KeyError, TypeError or AttributeError.

    recipe: the fingerprint that the file must name, of the store's recipe or of the layer of `layout`.
    """
    plain = unsealed(read_json_object(layout.plan_commit))
    if set(plain) != ({"recipe", "objects"} if layout.layer is None else {"recipe", "objects", "layer"}):
        raise ValueError(f"it holds {sorted(plain)} instead of recipe and objects")
    if plain["recipe"] != recipe:
        raise ValueError(f"it belongs to the recipe {str(plain['recipe'])[:12]}…, the store has {recipe[:12]}…")
    objects = {}
    for name, entry in plain["objects"].items():
        length, digest = entry["bytes"], entry["sha256"]
        if type(length) is not int or not _HEX.fullmatch(digest) or not inside(name):
            raise ValueError(f"its entry {name[:80]!r} is no path and checksum")
        objects[name] = (length, digest)
    return objects


def plan_bytes(
    recipe: str, objects: Mapping[str, bytes | tuple[int, str]], layer: Mapping[str, Any] | None = None
) -> bytes:
    """The content of `commits/plan.json`. objects: path within the store → the file's bytes, or their number and sha256.

    layer: for `commits/LAYER/plan.json`, a copy of the layer's record, from which the record can be restored.
    """
    entries = {}
    for name, data in sorted(objects.items()):
        length, digest = (len(data), hashlib.sha256(data).hexdigest()) if isinstance(data, bytes) else data
        entries[name] = {"bytes": length, "sha256": digest}
    return sealed({"recipe": recipe, "objects": entries, **({} if layer is None else {"layer": layer})})


def inside(name: str) -> bool:
    """True for a plain relative path that stays within the store."""
    path = PurePosixPath(name)
    return bool(name) and "\0" not in name and not path.is_absolute() and ".." not in path.parts


def way_out(layout: Layout) -> str:
    """What to do about a damaged file that `keybed plan` wrote."""
    return (
        f"`{command('verify', layout.root, '--repair')}` restores it where it follows from the recipe; otherwise "
        "copy it from a good copy of the store, or from a new store planned with the same command"
    )
