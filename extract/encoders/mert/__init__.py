"""MERT, the audio encoder: `spec` describes it without torch, `model` computes it."""
