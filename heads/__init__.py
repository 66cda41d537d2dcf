"""Small JAX heads that predict scores from stored features: models, losses, metrics, training. They see arrays, no files of a store.

Public names, loaded when they are first used, so that `keybed.heads.metrics` needs NumPy and SciPy alone:
    data         `HeadInput`, `from_arrays`, `tier_weights`, `Data`, `ArrayData`
    heads        `HEADS`, `HeadConfig`, `HeadOutput`
    training     `FitConfig`, `LossWeights`, `fit`, `Report`, `display`
    fitted       `FitResult`, `predict`, `attend`, `Activations`, `save`, `load`
    errors       `HeadsError`, `BadInput`, `NotFinite`, `CheckpointMismatch`, `FileDamaged`, `CannotWrite`
    modules      `metrics`; `keybed.heads.ridge` holds the ridge probe, `keybed.heads.align` the contrastive projections
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keybed.heads import metrics
    from keybed.heads.data import ArrayData, Data
    from keybed.heads.errors import BadInput, CannotWrite, CheckpointMismatch, FileDamaged, HeadsError, NotFinite
    from keybed.heads.fit_config import FitConfig
    from keybed.heads.fitted import Activations, FitResult, attend, load, predict, save
    from keybed.heads.inputs import HeadInput, from_arrays, tier_weights
    from keybed.heads.losses import LossWeights
    from keybed.heads.models import HEADS, HeadConfig, HeadOutput
    from keybed.heads.progress import Report, display
    from keybed.heads.train import fit

__all__ = [
    "HEADS",
    "Activations",
    "ArrayData",
    "BadInput",
    "CannotWrite",
    "CheckpointMismatch",
    "Data",
    "FileDamaged",
    "FitConfig",
    "FitResult",
    "HeadConfig",
    "HeadInput",
    "HeadOutput",
    "HeadsError",
    "LossWeights",
    "NotFinite",
    "Report",
    "attend",
    "display",
    "fit",
    "from_arrays",
    "load",
    "metrics",
    "predict",
    "save",
    "tier_weights",
]

_HOMES = {
    "data": ("ArrayData", "Data"),
    "errors": ("BadInput", "CannotWrite", "CheckpointMismatch", "FileDamaged", "HeadsError", "NotFinite"),
    "fit_config": ("FitConfig",),
    "fitted": ("Activations", "FitResult", "attend", "load", "predict", "save"),
    "inputs": ("HeadInput", "from_arrays", "tier_weights"),
    "losses": ("LossWeights",),
    "models": ("HEADS", "HeadConfig", "HeadOutput"),
    "progress": ("Report", "display"),
    "train": ("fit",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "metrics":
        return import_module("keybed.heads.metrics")
    if name in _HOME_OF:
        return getattr(import_module(f"keybed.heads.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module 'keybed.heads' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
