"""Train, predict and evaluate: cross-validation, correlations, intervals, gains, gates and diagnostics."""
