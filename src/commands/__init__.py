"""The `calcarine` command: one file for each of its commands."""
