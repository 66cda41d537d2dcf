"""Specification of `transcribed`: Transkun's transcription, measured as `expressive` measures notes. Imports no torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Unpack

from keybed.extract.encoders.baselines import expressive
from keybed.extract.encoders.pretrained import CommonOptions
from keybed.extract.encoders.transcribed.fidelity import MEASURES
from keybed.extract.encoders.transkun import spec as transkun
from keybed.store.format.recipe import EncoderSpec

NAME = "transcribed"
CODE_VERSION = 1
DEFAULT_WEIGHTS = transkun.DEFAULT_WEIGHTS


def describe(
    *, where: str, revision: str | None, window_s: float, **common: Unpack[CommonOptions]
) -> tuple[EncoderSpec, str | None]:
    """Spec with the weights of Transkun and the channels of `expressive`, and the path of the weights.

    Raises what `transkun.describe` raises.
    """
    network, path = transkun.describe(where=where, revision=revision, window_s=window_s, **common)
    notes = expressive.describe(n_bins=common["n_bins"], window_s=window_s, threads=1)
    heard = {key: value for key, value in network.preprocessing.items() if key != "token_pooling"}
    spec = replace(
        notes,
        name=NAME,
        source=network.source,
        revision=network.revision,
        weights_sha256=network.weights_sha256,
        code_version=CODE_VERSION,
        preprocessing={
            **heard,
            "transkun_code_version": network.code_version,
            "expressive": {**notes.preprocessing, "code_version": notes.code_version},
            "measures": list(MEASURES),
        },
        threads=network.threads,
    )
    return spec, path


def network_spec(spec: EncoderSpec, file: Path | None) -> EncoderSpec:
    """The spec of `transkun` with the same weights: its states are checked for both, because a transcription is no number.

    The last bit of a score can add a note or leave it out, so features of a transcription are not close to those in float64.
    """
    network, _ = transkun.describe(
        where=f"random:{spec.revision}" if file is None else str(file),
        revision=None,
        window_s=spec.preprocessing["window_s"],
        n_bins=spec.n_bins,
        threads=spec.threads,
        compute_dtype=spec.compute_dtype,
    )
    return replace(network, source=spec.source, revision=spec.revision)
