"""The optional terms of the alignment objective: each is a switch of one configuration, off by default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from keybed.heads.errors import BadInput

LOCAL_WEIGHT = 0.3
HARD_NEGATIVE_BETA = 0.15
N_TOKENS = 5
MISMATCH_SHARE = 0.2
BLOCKWISE_WEIGHT = 0.5
QUALITY_WEIGHT = 1.0


@dataclass(frozen=True)
class Terms:
    """What the objective holds beside InfoNCE between clip vectors. 0 leaves a term out."""

    local: float = 0.0
    """Weight of the InfoNCE between time bins (`heads/alignment/local.py`)."""
    hard_negatives: float = 0.0
    """β of the weights of hard negatives in the global InfoNCE (`heads/contrast.py`)."""
    codewords: int = 0
    """K, the size of the codebook that both modalities share (`heads/alignment/codebook.py`)."""
    tokens: int = 0
    """Shared queries, and as many private ones for each modality (`heads/alignment/tokens.py`)."""
    mismatch: float = 0.0
    """Share of the rows that get another variant's notes, for a head that detects them (`heads/alignment/mismatch.py`)."""
    blockwise: float = 0.0
    """Weight of the mean InfoNCE over encoder states (`heads/alignment/blockwise.py`)."""
    quality: float = 0.0
    """Weight of a linear prediction of the scores from what later heads read (`heads/alignment/quality.py`)."""

    def __post_init__(self) -> None:
        for name in ("local", "hard_negatives", "blockwise", "quality"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise BadInput(f"{name}={getattr(self, name):g}: a number of at least 0")
        for name in ("codewords", "tokens"):
            if getattr(self, name) < 0:
                raise BadInput(f"{name}={getattr(self, name)}: 0 (off) or more")
        if self.codewords == 1:
            raise BadInput("codewords=1: every clip would be the same codeword; give 2 or more, or 0 for no codebook")
        if not 0 <= self.mismatch < 1:
            raise BadInput(f"mismatch={self.mismatch:g}: a share of the rows, at least 0 and below 1")

    def to_json(self) -> dict[str, Any]:
        """Every switch, as plain JSON."""
        return asdict(self)

    @staticmethod
    def from_json(saved: Mapping[str, Any]) -> Terms:
        """Inverse of `to_json`. Raises TypeError for a switch that this version does not have."""
        return Terms(**saved)
