"""The commands, a module each: `add_arguments` describes its arguments, `execute` runs it and returns the exit code."""

import argparse
from pathlib import Path
from types import ModuleType
from typing import Any

INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it


def build_common_options() -> argparse.ArgumentParser:
    """The options of every command, as a parent of its parser."""
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("--config", type=Path, metavar="FILE", help="the settings file (default: config/pawtag.toml)")
    parser.add_argument(
        "--model", metavar="ID", help="the id of a model on the Hugging Face hub, a folder with a model, or 'embedded'"
    )
    parser.add_argument("--labels", type=Path, metavar="FILE", help="your own labels.toml")
    return parser


def add_command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    """A parser for one command or action. `text` is its line in the help above, and its own description."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=[build_common_options()]
    )
    return parser


def read_summary(module: ModuleType) -> str:
    """What a command does: its module's docstring without the command's name."""
    return (module.__doc__ or "").partition(": ")[2].rstrip(".\n")
