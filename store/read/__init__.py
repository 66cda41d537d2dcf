"""Reading a store: rows, blocks of features, training batches and derived arrays."""
