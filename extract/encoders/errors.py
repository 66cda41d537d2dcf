"""Named errors of the encoders: each says what happened, where, and what to do."""

from __future__ import annotations

from keybed.store.errors import KeybedError


class EncoderError(KeybedError):
    """An encoder was asked for something it cannot do, or given input that no row status covers."""


class UnknownEncoder(EncoderError):
    """No encoder has this name; the message lists those there are."""


class WeightsUnreachable(EncoderError):
    """The hub or folder that should hold the weights cannot be reached; the message says how to fetch them ahead."""


class WeightsRefused(EncoderError):
    """A checkpoint is damaged, of another architecture, or not the one that was planned with."""
