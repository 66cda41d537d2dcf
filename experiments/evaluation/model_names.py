"""Names of models and of predictions composed from them: in results.json, predictions.npz and every report.

The names are stored on disk. A new spelling makes runs of before unreadable.
"""

from __future__ import annotations

SINGLES = ("audio", "midi")
"""Heads that see one modality."""
FUSIONS = ("concat", "cross", "gated")
"""Heads that see both modalities."""
ALL_HEADS = (*SINGLES, *FUSIONS)

BEST_FUSION = "best_fusion"
"""The fusion head with the best validation r; chosen in each fold."""
BEST_SINGLE = "best_single"
"""The single-modality head with the best validation r; chosen in each fold."""
BEST_SINGLE_WITHOUT_TONE = "best_single_without_tone"
"""The same, chosen with tone_quality left out."""
SPECIALISTS = "specialists"
"""For each dimension the single-modality head with the better validation r; chosen in each fold."""
SWAP_AUDIO, SWAP_MIDI = "best_fusion, other audio", "best_fusion, other MIDI"
"""The best fusion on rows whose audio or MIDI comes from another variant of the same segment."""
SHORTCUT = "shortcut: "
"""Prefix of the shortcut baselines."""
TIER_SHORTCUT = f"{SHORTCUT}tier"

RAW = "raw "
"""Prefix of Phase 2's heads where they stand beside heads on aligned features."""
PHASE3_BEST_SINGLE = "best_single, raw or aligned"
"""Phase 3: the best single-modality head on raw or aligned features; chosen on validation rows in each fold."""
FINAL_FUSION, PHASE4_BEST_SINGLE = "final fusion", "best single, raw or aligned"
"""Phase 4: the fusion and the single-modality head, each on raw or aligned features as validation chose in each fold."""
