"""From a store to training data: views, features, folds, a run's folder, and the JSON codec of its results.

Public names: `view.View`, `features.Features`, `fold_data.FoldData`, `folds.Fold`, `folds.outer_folds`, `run_folder.start_run`,
`run_facts.store_facts`, `json_codec.plain`, `json_codec.from_json`.
"""
