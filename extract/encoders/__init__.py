"""Frozen encoders with one interface: MERT, MuQ, Transkun, MIDIBert, Aria, and baselines without weights."""

from keybed.extract.encoders.registry import (
    COMPUTE_DTYPES,
    FITTED,
    NAMES,
    NEED_FILES,
    PRETRAINED,
    build,
    build_unchecked,
    check_checkpoint,
    describe,
    has_bfloat16,
    has_tokens,
    n_parameters,
    runs_in_renderer,
    takes_audio,
    tokenize,
)

__all__ = [
    "COMPUTE_DTYPES",
    "FITTED",
    "NAMES",
    "NEED_FILES",
    "PRETRAINED",
    "build",
    "build_unchecked",
    "check_checkpoint",
    "describe",
    "has_bfloat16",
    "has_tokens",
    "n_parameters",
    "runs_in_renderer",
    "takes_audio",
    "tokenize",
]
