"""PercePiano: what human ears say about the same passage played by many, and how well features foretell it."""
