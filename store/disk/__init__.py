"""Files on disk: durable writes, Zarr arrays, sharded chunks and commit records."""
