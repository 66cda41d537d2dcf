"""Frozen encoders with one interface: MERT, MIDIBert, and baselines without weights."""

from keybed.extract.encoders.registry import COMPUTE_DTYPES, NAMES, PRETRAINED, build, describe

__all__ = ["COMPUTE_DTYPES", "NAMES", "PRETRAINED", "build", "describe"]
