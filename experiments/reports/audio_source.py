"""The source of a store's audio and its consequences, in words for every report."""

from __future__ import annotations

from keybed.experiments.reports.page import Banner

RECORDED = "The audio is the real recording: only the tone axis touches it. The errors of the other axes are in the MIDI alone."
RENDERED = (
    "The audio is rendered from the degraded notes, each row with one soundfont. In it a pedal is down or up, so half-pedalling means "
    "that the pedal changes early or late. It has no touch-dependent timbre: tone_quality means how clean the recording is, "
    "not touch."
)


def sound_banner(source: str) -> Banner:
    """source: `audio.source` of the recipe."""
    return Banner(RECORDED, "Recorded audio.") if source == "recorded" else Banner(RENDERED, "Rendered audio.")
