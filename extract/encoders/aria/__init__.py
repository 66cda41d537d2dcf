"""Aria, a MIDI encoder: its specification without torch, its tokens and its model."""
