"""Small heads on stored features: models, losses, metrics, training. Sees arrays, not files of a store."""

from keybed.heads.data import ArrayData, Data
from keybed.heads.errors import BadInput, CheckpointMismatch, HeadsError, NotFinite
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
    "CheckpointMismatch",
    "Data",
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
    "predict",
    "save",
    "tier_weights",
]
