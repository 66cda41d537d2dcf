"""The command line `keybed` (entry: `main.main`): one module per group of subcommands."""
