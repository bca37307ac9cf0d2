"""The command line: one file for each command, which imports its job when it runs."""
