"""Where a store's sound came from, and what that means for every number on it: in words for each report."""

from __future__ import annotations

from keybed.experiments.reports.page import Banner

RECORDED = (
    "The sound is the real recording: only the tone axis touches it. Whatever the notes are said to do wrong cannot be "
    "heard in it."
)
RENDERED = (
    "The sound is rendered from the degraded notes with one soundfont, in which a pedal is down or up, so half-pedalling "
    "means changing early or late, and which has no touch-dependent timbre: tone_quality here means how clean the "
    "recording is, not touch."
)


def sound_banner(source: str) -> Banner:
    """source: `audio.source` of the recipe."""
    return Banner(RECORDED, "Recorded audio.") if source == "recorded" else Banner(RENDERED, "Rendered audio.")
