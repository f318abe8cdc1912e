"""The command line: arguments to a command, errors to exit codes."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pawtag import __version__, config
from pawtag.commands import config as config_command
from pawtag.commands import model, run, scan, tag
from pawtag.errors import ConfigError, PawtagError

COMMANDS = {"run": run, "tag": tag, "scan": scan, "config": config_command, "model": model}
FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    given = _parser().parse_args(arguments)
    try:
        settings = config.load(getattr(given, "config", None), _overrides(given))
        return int(COMMANDS[given.command].execute(given, settings))
    except ConfigError as error:
        return _say(error, WRONG_USAGE)
    except PawtagError as error:
        return _say(error, FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - whoever read the output has gone
        return FAILED


def entry() -> None:
    """The console script: exits at once, also while a thread still loads or decodes."""
    code = main()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or FAILED
    os._exit(code)


def _parser() -> argparse.ArgumentParser:
    everywhere = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    everywhere.add_argument(
        "--config", type=Path, metavar="FILE", help="the settings file (default: config/pawtag.toml)"
    )
    everywhere.add_argument("--model", metavar="ID", help="a hub id, a checkpoint folder, or 'embedded'")
    everywhere.add_argument("--labels", type=Path, metavar="FILE", help="a labels.toml of your own")
    parser = argparse.ArgumentParser("pawtag", description="Tags pet photos.", parents=[everywhere])
    parser.add_argument("--version", action="version", version=f"pawtag {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        what = (module.__doc__ or "").partition(": ")[2].rstrip(".\n")
        module.add_arguments(commands.add_parser(name, help=what, description=what, parents=[everywhere]))
    return parser


def _overrides(given: argparse.Namespace) -> dict[str, dict[str, Any]]:
    own: dict[str, dict[str, Any]] = getattr(COMMANDS[given.command], "overrides", lambda _: {})(given)
    sections = {
        "model": {"id": getattr(given, "model", None)},
        "labels": {"file": getattr(given, "labels", None)},
        **own,
    }
    return {
        name: {key: value for key, value in values.items() if value is not None} for name, values in sections.items()
    }


def _say(error: Exception, code: int) -> int:
    print(f"pawtag: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    entry()
