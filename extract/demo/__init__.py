"""A synthetic corpus for the demo, in MAESTRO's layout."""

from keybed.extract.demo.corpus import write_demo_corpus

__all__ = ["write_demo_corpus"]
