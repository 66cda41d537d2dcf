"""The demo's corpus: short pieces composed and performed by rule, in MAESTRO's layout."""
