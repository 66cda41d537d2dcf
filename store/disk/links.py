"""Refuse to write or delete outside a store, through a link that a stranger may have put into it."""

from __future__ import annotations

from pathlib import Path

from keybed.store.errors import StoreError


def refuse_outside(root: Path, path: Path) -> None:
    """Raise StoreError where the folder of `path` lies outside the store at `root` once links are followed."""
    folder = path.parent.resolve()
    if not folder.is_relative_to(root.resolve()):
        raise StoreError(
            f"{path} lies in {folder}, outside the store (a link): nothing is changed there; put the "
            "folder itself in the place of the link"
        )
