"""Writing a store: the empty store, claims, the rules a shard must meet, and commits."""
