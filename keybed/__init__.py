"""Keybed: frozen audio and MIDI features of degraded piano performances, and the heads that train on them.

The public names are loaded when they are first used, so that `import keybed` needs neither torch nor JAX.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keybed.heads import HeadConfig, fit
    from keybed.heads.ridge import RidgeProbe
    from keybed.store import open

    __version__: str

__all__ = ["HeadConfig", "RidgeProbe", "__version__", "fit", "open"]

_HOMES = {
    "open": "keybed.store",
    "fit": "keybed.heads",
    "HeadConfig": "keybed.heads",
    "RidgeProbe": "keybed.heads.ridge",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("keybed")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'keybed' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
