"""Errors of the encoders. Every message says what happened, where, and what to do."""

from __future__ import annotations

from keybed.store.errors import KeybedError


class EncoderError(KeybedError):
    """An encoder got an option it does not support, or input that no row status covers."""


class UnknownEncoder(EncoderError):
    """No encoder has this name; the message lists the known names."""


class WrongArithmetic(EncoderError):
    """On this machine an encoder computes other numbers than it should: a library's kernel is wrong or too coarse."""


class WeightsUnreachable(EncoderError):
    """The hub or folder with the weights cannot be reached; the message says how to fetch them in advance."""


class WeightsRefused(EncoderError):
    """A checkpoint is damaged, has another architecture, or differs from the planned one."""
