"""PercePiano: how well heads and models predict human ratings of one passage played by many (entry: `run.percepiano`)."""
