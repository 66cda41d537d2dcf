"""What the command line can do, a module a group of subcommands. Heavy libraries are imported when a command runs."""
