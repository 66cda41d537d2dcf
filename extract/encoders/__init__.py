"""Frozen encoders behind one interface: MERT, MIDIBert and the baselines that need no weights."""

from keybed.extract.encoders.registry import COMPUTE_DTYPES, NAMES, PRETRAINED, build, describe

__all__ = ["COMPUTE_DTYPES", "NAMES", "PRETRAINED", "build", "describe"]
