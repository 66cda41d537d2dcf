"""Small heads on stored features: models, losses, metrics, training. Sees arrays, not files of a store."""

from keybed.heads.data import ArrayData, Data
from keybed.heads.errors import BadInput, CheckpointMismatch, HeadsError, NotFinite
from keybed.heads.inputs import HeadInput, from_arrays, tier_weights
from keybed.heads.losses import LossWeights
from keybed.heads.models import HEADS, HeadConfig, HeadOutput
from keybed.heads.progress import Report, display
from keybed.heads.train import FitResult, Look, attend, fit, load, predict, save
from keybed.heads.train_loop import FitConfig

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
