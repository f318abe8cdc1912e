"""The commands, a module each: `add_arguments` describes its arguments, `execute` runs it and returns the exit code."""

import argparse
from pathlib import Path

INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it


def build_common_options() -> argparse.ArgumentParser:
    """The options that hold for every command, as a parent of its parser."""
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("--config", type=Path, metavar="FILE", help="the settings file (default: config/pawtag.toml)")
    parser.add_argument("--model", metavar="ID", help="a hub id, a checkpoint folder, or 'embedded'")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="a labels.toml of your own")
    return parser
