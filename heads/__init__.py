"""Small heads on stored features: models, losses, metrics, training. Sees arrays, not files of a store."""

from heads.errors import BadInput, CheckpointMismatch, HeadsError, NotFinite
from heads.feed import ArrayData, Data
from heads.inputs import HeadInput, from_arrays, tier_weights
from heads.loop import FitConfig
from heads.losses import LossWeights
from heads.models import HEADS, HeadConfig, HeadOutput
from heads.progress import Report, display
from heads.train import FitResult, Look, attend, fit, load, predict, save

__all__ = [
    "HEADS",
    "ArrayData",
    "BadInput",
    "CheckpointMismatch",
    "Data",
    "FitConfig",
    "FitResult",
    "HeadConfig",
    "HeadInput",
    "HeadOutput",
    "HeadsError",
    "Look",
    "LossWeights",
    "NotFinite",
    "Report",
    "attend",
    "display",
    "fit",
    "from_arrays",
    "load",
    "predict",
    "save",
    "tier_weights",
]
