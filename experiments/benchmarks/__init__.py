"""Benchmarks of store, rendering, encoders and heads against named alternatives; each module is a command (`--help`)."""
