"""From a store to training data: features, folds, and the folder of a run."""
