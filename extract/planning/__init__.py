"""`keybed plan`: windows, rows, drawn levels, the estimate and the empty store."""
