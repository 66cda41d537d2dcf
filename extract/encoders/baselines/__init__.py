"""Encoders without weights: `logmel`, `expressive`, and two placeholders for tests."""
