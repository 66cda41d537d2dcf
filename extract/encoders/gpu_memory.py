"""Say in words that a GPU's memory ran out, and what helps. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from keybed.extract.encoders.errors import EncoderError
from keybed.store.format.recipe import EncoderSpec


@contextmanager
def memory_in_words(spec: EncoderSpec) -> Iterator[None]:
    """Raise EncoderError where torch raises its OutOfMemoryError inside the block."""
    try:
        yield
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":
            raise
        # torch goes on with its allocator's own numbers and settings.
        reason = re.split(r"\. (?:Of the allocated|If reserved)", str(error).strip(), maxsplit=1)[0].rstrip(".")
        half = "; planned with --dtype bfloat16 it needs half" if spec.compute_dtype == "float32" else ""
        raise EncoderError(
            f"{spec.name}: the GPU's memory ran out ({reason}). Smaller batches are not tried, because a row's last bits "
            f"depend on them and the recipe fixes them: end what else runs on the GPU, use one with more memory, or put "
            f"CUDA_VISIBLE_DEVICES= before the command to compute on the CPU{half}"
        ) from error
