"""Toy, an audio encoder to copy: one linear layer per 20 ms frame, then layers of tanh. See docs/adding-an-encoder.md."""
