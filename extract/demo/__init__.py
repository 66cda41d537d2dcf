"""A synthetic corpus for the demo, in MAESTRO's layout."""
