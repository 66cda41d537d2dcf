"""Names of gate criteria: stored in gate.json, and used by reports to find a criterion and its threshold."""

from __future__ import annotations

GAIN_A = "fusion gain (a) over the best single modality"
GAIN_B = "fusion gain (b) over the specialists"
GAIN_C = "fusion gain (c) without tone_quality"
USED = {"audio": "audio is used", "midi": "MIDI is used"}
DIFFICULTY = "quality, not difficulty"
LITERAL_GAIN = "literal: fusion beats best single"
LITERAL_ORDER = "literal: pristine scores higher than degraded"
LITERAL_ATTENTION = "literal: attention entropy (high = both used)"

ALIGNMENT = "alignment"
VARIANT_RECALL = "partner found among the segment's own variants"
NO_COLLAPSE_RANK, NO_COLLAPSE_UNIFORMITY = "no collapse: effective rank", "no collapse: uniformity"
RETENTION = "quality retained"
GAIN_ANYWHERE = "fusion gain over the best single modality, raw or aligned"
LITERAL_ALIGNMENT = "literal: alignment"

TECHNICAL_MEAN, TECHNICAL_EACH = "technical, mean of four", "technical, each"
INTERPRETIVE = "interpretive: musical_expression"
UNSEEN_PIANO = "holds on an unseen piano"
GAIN_FINAL = "fusion gain over the best single modality"
LITERAL_TECHNICAL, LITERAL_INTERPRETIVE = "literal: technical r", "literal: interpretive r"


def ordering(pair: str) -> str:
    """The criterion of a key of `ordering.ordering`, e.g. "pristine>poor, tone equal"."""
    return pair.replace(">", " over ")
