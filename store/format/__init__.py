"""What a store looks like on disk: words, recipe, array specifications, layout and shard arithmetic. Pure data."""
