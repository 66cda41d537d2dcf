"""Audits of the labels: `label_correlations` between dimensions, `loudness_and_tier` for loudness as a shortcut."""
