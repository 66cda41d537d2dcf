"""PercePiano: how well heads and models predict human ratings of one passage played by many.

Public names: `run.percepiano`, `results.PercepianoResults`, `reader.read`, `models.all_models`, `config.PercepianoConfig`.
"""
