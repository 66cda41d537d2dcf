"""Aria, a MIDI encoder: `spec.describe` and `tokens.tokenize` (without torch), `model.Aria`, `reference.reference`."""
