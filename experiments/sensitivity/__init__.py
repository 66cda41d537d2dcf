"""`keybed sensitivity` (entry: `run.run_sensitivity`): which encoder, state and pooling shows which kind of mistake."""
