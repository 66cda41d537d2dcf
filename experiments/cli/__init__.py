"""The command line `keybed`: one module for each group of subcommands."""
