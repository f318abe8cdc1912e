"""The commands, a file each: `add_parser` describes its arguments, `execute` does it and gives the exit code."""
