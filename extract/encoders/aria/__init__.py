"""Aria, a MIDI encoder: specification and tokens (without torch), and model."""
