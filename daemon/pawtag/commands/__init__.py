"""The commands, a file each: `add_arguments` describes its arguments, `execute` does it and gives the exit code."""
