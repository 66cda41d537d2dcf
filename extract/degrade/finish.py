"""The last stage of every row, pristine ones too: keys are released in time for the next stroke, and all notes are playable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.texture import Texture, released_in_time
from keybed.extract.music.performance import Performance, playable


def finished(
    onset_s: NDArray[np.float64],
    offset_s: NDArray[np.float64],
    pitch: NDArray[np.int16],
    velocity: NDArray[np.int16],
    pedal_s: NDArray[np.float64],
    pedal_value: NDArray[np.int16],
    texture: Texture,
) -> Performance:
    """A playable performance whose keys rise as early before their next stroke as this recording's do."""
    once = playable(onset_s, offset_s, pitch, velocity, pedal_s, pedal_value)
    released = released_in_time(once.onset_s, once.offset_s, once.pitch, texture)
    # Still playable: no onset has moved, and no note became longer or lost its length.
    return replace(once, offset_s=released)
