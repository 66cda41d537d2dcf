"""Extraction: `task.extract` fills the shards of one task, `recompute.recomputer` makes single rows again for comparison."""
