"""Audits: `label_correlations` between dimensions, `loudness_and_tier` for loudness as a shortcut, `fingerprints` of the degradation."""
