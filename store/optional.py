"""Libraries that only some users need: imported when they are called for, with a clear sentence where they are absent."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from keybed.store.errors import KeybedError


class NotInstalled(KeybedError, ImportError):
    """A library that is no dependency of Keybed is needed and absent; the message says how to install it."""


def optional(library: str, extra: str | None) -> Any:
    """Import a library of the optional extra `extra`; None: of no extra. Raises NotInstalled."""
    try:
        return import_module(library)
    except ModuleNotFoundError as error:
        missing = (error.name or library).partition(".")[0]
        checkout = "" if extra is None else f", or in Keybed's checkout pip install -c constraints.txt '.[{extra}]'"
        raise NotInstalled(f"this needs {missing}, which is not installed: pip install {missing}{checkout}") from error
