"""MERT, the audio encoder: its specification without torch, its model and its convolutions."""
