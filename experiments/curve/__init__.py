"""`keybed curve`: specific r against the amount of training data, and what the next experiment would need.

Public names: `run.run_curve`, `config.CurveConfig`.
"""
