"""Frozen encoders with one interface: MERT, MuQ, MIDIBert, Aria, and baselines without weights."""

from keybed.extract.encoders.registry import (
    COMPUTE_DTYPES,
    NAMES,
    PRETRAINED,
    build,
    check_checkpoint,
    describe,
    n_parameters,
)

__all__ = ["COMPUTE_DTYPES", "NAMES", "PRETRAINED", "build", "check_checkpoint", "describe", "n_parameters"]
