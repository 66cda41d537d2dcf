"""`keybed sensitivity`: which encoder, state and pooling shows which kind of mistake.

Public names: `run.run_sensitivity`, `results.SensitivityResults`, `probes.probe`, `config.SensitivityConfig`.
"""
