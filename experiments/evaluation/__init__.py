"""Train, predict and evaluate: cross-validation, correlations, intervals, fusion gain, gates, diagnostics, results.

Public names: `cross_validation.cross_validate`, `predictions.Predictions`, `predictions.Correlations`, `intervals.intervals`,
`fusion_gain.gains`, `criteria.Criterion`, `gates.make_gate`, `gate_chain.check_chain`, `tables.correlation_table`,
`ridge_probe.ridge_probe`, `decimals.number`, `model_names`, `criterion_names`, `phase2_results.Phase2Results` and its siblings.
"""
