"""The check of the volume before rating: one passage as quiet and as loud as the clips of the set get."""

from __future__ import annotations

import numpy as np
import soundfile

from keybed.experiments.listening.app.rating_set import RatingSet


def write_volume_check(rating_set: RatingSet, clip: str, seconds: float = 4.0) -> None:
    """Write SET/check/quiet.flac and loud.flac: the loudest part of one clip at the level of the set's quietest and loudest clip.

    A level is the RMS of a clip. The loud one is turned down where it would clip.
    """
    sounds = {code: soundfile.read(rating_set.audio(code)) for code in rating_set.seconds}
    levels = [float(np.sqrt((sound**2).mean())) for sound, _ in sounds.values()]
    sound, rate = sounds[clip]
    n = min(round(seconds * rate), sound.size)
    begins = range(0, sound.size - n + 1, max(rate // 2, 1))
    begin = max(begins, key=lambda i: float((sound[i : i + n] ** 2).sum()))
    part = sound[begin : begin + n]
    part = part / max(float(np.sqrt((part**2).mean())), 1e-9)
    (rating_set.folder / "check").mkdir(exist_ok=True)
    for name, level in (("quiet", min(levels)), ("loud", max(levels))):
        gain = min(level, 0.99 / max(float(np.abs(part).max()), 1e-9))
        soundfile.write(rating_set.folder / "check" / f"{name}.flac", gain * part, rate, subtype="PCM_16")
