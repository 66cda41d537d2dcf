"""Specification of `expected`: the channels of `expressive`, and those of models that a file holds. Imports no torch."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from keybed.extract.encoders.baselines import expressive
from keybed.extract.encoders.errors import WeightsUnreachable
from keybed.extract.encoders.expected import models, note_expectation, pedal_expectation
from keybed.extract.encoders.weights import RANDOM, RANDOM_VERSION, Weights, random_weights
from keybed.store.format.recipe import EncoderSpec

NAME = "expected"
CODE_VERSION = 1
CHANNELS = (
    *pedal_expectation.CHANNELS,
    *note_expectation.CHANNELS,
    *pedal_expectation.CONTEXTS,
    *note_expectation.CONTEXTS,
)
"""Those that `expressive` has not: of events, then contexts."""
ARCHITECTURE: dict[str, Any] = {"pedal": models.HIDDEN_PEDAL, "notes": list(models.HIDDEN_NOTES)}
RANDOM_SEED = 20_261_127


def describe(*, where: str, n_bins: int, window_s: float, **_: Any) -> tuple[EncoderSpec, str | None]:
    """Spec with the models of a file, and its path; None for "random". Raises WeightsUnreachable, WeightsRefused."""
    chosen, fitted_to = _choose(where)
    notes = expressive.describe(n_bins=n_bins, window_s=window_s, threads=1)
    spec = replace(
        notes,
        name=NAME,
        source=chosen.source,
        revision=chosen.revision,
        weights_sha256=chosen.sha256,
        code_version=CODE_VERSION,
        preprocessing={
            "window_s": window_s,
            "expressive": {**notes.preprocessing, "code_version": notes.code_version},
            "architecture": ARCHITECTURE,
            "fitted_to": fitted_to,
        },
        width=notes.width + len(CHANNELS),
        channels=(*notes.channels, *CHANNELS),
    )
    return spec, chosen.path


def _choose(where: str) -> tuple[Weights, dict[str, Any]]:
    drawn = random_weights(NAME, where, {"tiny": ARCHITECTURE}, RANDOM_SEED)
    if drawn is not None:
        return drawn[0], {"windows": 0, "random_version": RANDOM_VERSION}
    file = Path(where).expanduser()
    if not file.is_file():
        raise WeightsUnreachable(
            f"{NAME}: there is no file {where}; make one from the undegraded rows of a planned store with "
            f"`keybed expect STORE --out FILE`"
        )
    read = models.load(file)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    return Weights("local", "", sha256, file.absolute()), dict(read.fitted_to)


def models_of(spec: EncoderSpec, file: Path | None) -> models.ExpectedModels:
    """The models of a spec. Raises WeightsRefused where the file is not the planned one, WeightsUnreachable without one."""
    if file is None and spec.source == RANDOM:
        return models.random_models(RANDOM_SEED)
    if file is None:
        raise WeightsUnreachable(
            f"{NAME}: the file of its models is not known here; give it with --{NAME}-weights FILE"
        )
    return models.load(file, spec.weights_sha256)


def n_parameters(architecture: dict[str, Any]) -> int:
    """About how many numbers one model has."""
    first, second = architecture["notes"]
    of_notes = 2 * (note_expectation.LENGTH_INPUTS + note_expectation.VELOCITY_INPUTS)
    return 2 * (pedal_expectation.N_INPUTS * architecture["pedal"] + of_notes * first + 2 * first * second)
