"""`keybed plan`: segments, rows, drawn levels, the cost estimate and the empty store. Entry points: `plan.plan`, `plan.dry_run`."""
