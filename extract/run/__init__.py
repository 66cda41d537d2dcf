"""`keybed extract`: one task's shards, from planned rows to commits."""
