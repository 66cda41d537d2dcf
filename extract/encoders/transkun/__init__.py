"""Transkun, a piano transcription transformer as an audio encoder: specification (without torch), layers and model."""
