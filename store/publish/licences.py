"""What a published store contains of other people's work, and under which terms."""

from __future__ import annotations

from keybed.store.format.recipe import Recipe

CORPUS_TERMS = (
    "notes, and features of audio, of the recordings of your corpus; for MAESTRO: CC BY-NC-SA 4.0 (attribution, no "
    "commercial use, the same licence)"
)
_ENCODERS = {
    "mert": "features of MERT, whose weights are CC BY-NC 4.0 (attribution, no commercial use)",
    "muq": "features of MuQ, whose weights are CC BY-NC 4.0 (attribution, no commercial use)",
    "aria": "features of Aria, whose weights are Apache-2.0",
    "midibert": "features of MIDIBert; ask its authors, the checkpoint names no licence",
    "transkun": "features of Transkun, whose weights are MIT and were trained on MAESTRO (CC BY-NC-SA 4.0)",
    "transcribed": "features of transcriptions by Transkun, whose weights are MIT and were trained on MAESTRO (CC BY-NC-SA 4.0)",
}
HUB_LICENCE = "cc-by-nc-sa-4.0"
"""The licence in the dataset card, MAESTRO's own; edit the card where your corpus has another."""


def terms(recipe: Recipe) -> list[str]:
    """One line for each part that has terms of its own."""
    return [CORPUS_TERMS, *(_ENCODERS[e.name] for e in recipe.encoders if e.name in _ENCODERS and not e.random_weights)]
