"""The source of a store's audio and its consequences, in words for every report."""

from __future__ import annotations

from keybed.experiments.reports.page import Banner

RECORDED = "The audio is the real recording: only the tone axis touches it. The errors of the other axes are in the MIDI alone."
RENDERED = (
    "The audio is rendered from the degraded notes, each row with one soundfont. In it a pedal is down or up, so half-pedalling means "
    "that the pedal changes early or late. It has no touch-dependent timbre: tone_quality means how clean the recording is, "
    "not touch."
)


RATED = (
    "Every row is a recording itself, with ratings by people. Its audio is rendered from its notes with one soundfont, so that "
    "heads do not hear the sound that the raters heard."
)
RATED_RECORDED = "Every row is a recording itself, with ratings by people, and its audio is the recording."


def sound_banner(source: str, *, rated: bool = False) -> Banner:
    """source: `audio.source` of the recipe. rated: a store of ratings by people."""
    if rated:
        return Banner(RATED_RECORDED if source == "recorded" else RATED, "Ratings by people.")
    return Banner(RECORDED, "Recorded audio.") if source == "recorded" else Banner(RENDERED, "Rendered audio.")
