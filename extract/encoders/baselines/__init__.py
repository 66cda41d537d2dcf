"""Encoders that need no weights: logmel, expressive, and placeholders for tests."""
