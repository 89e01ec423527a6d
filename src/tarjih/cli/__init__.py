"""The command line: one module a subcommand, and nothing that is not about the command line."""
