"""The command line: arguments to a command, errors to exit codes."""

import argparse
import gc
import importlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from pawtag import __version__
from pawtag.cli import INTERRUPTED
from pawtag.domain.errors import ConfigError, PawtagError
from pawtag.s3.tuning import S3Tuning

FAILED, WRONG_USAGE = 1, 2
COMMANDS = ("run", "tag", "scan", "status", "retry", "correct", "clean", "s3", "config", "model", "webhook")


def main(arguments: Sequence[str] | None = None, *, s3_tuning: S3Tuning | None = None) -> int:
    """Run one command; returns its exit code. `s3_tuning`: for tests, which cannot wait as long as users."""
    from pawtag.config import load_settings

    commands = _import_needed(arguments)
    gc.enable()
    given = build_parser(commands).parse_args(arguments)
    given.s3_tuning = s3_tuning or S3Tuning()
    command = commands[given.command]
    if given.command != "run":
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        settings = load_settings(getattr(given, "config", None), _overrides(given, command))
        return int(command.execute(given, settings))
    except ConfigError as error:
        return _print_error(error, WRONG_USAGE)
    except PawtagError as error:
        return _print_error(error, FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - whoever read the output has gone
        return FAILED
    except OSError as error:
        return _print_error(PawtagError(f"{error.strerror}: {error.filename}."), FAILED)


def entry() -> None:
    """The console script: exits at once, also while a thread still loads or decodes."""
    gc.disable()  # imports make no garbage, but the collector would take a tenth of their time
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # stopped before anything has begun
    code = main()
    logging.shutdown()  # the daemon's log is written in a thread
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or FAILED
    os._exit(code)


def _import_needed(arguments: Sequence[str] | None) -> dict[str, ModuleType]:
    """Import the requested command; without one, all commands, for the help. Each import takes a part of a second."""
    from pawtag.cli import build_common_options

    parser = argparse.ArgumentParser(parents=[build_common_options()], add_help=False)
    parser.add_argument("command", nargs="?")
    wanted = parser.parse_known_args(arguments)[0].command
    return import_commands([wanted] if wanted in COMMANDS else COMMANDS)


def import_commands(names: Sequence[str] = COMMANDS) -> dict[str, ModuleType]:
    """The modules of these commands."""
    return {name: importlib.import_module(f"pawtag.cli.{name}") for name in names}


def build_parser(known: dict[str, ModuleType]) -> argparse.ArgumentParser:
    """The parser of the command line, with these commands."""
    from pawtag.cli import add_command, build_common_options, read_summary

    parser = argparse.ArgumentParser("pawtag", description="Tag pet photos.", parents=[build_common_options()])
    parser.add_argument("--version", action="version", version=f"pawtag {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in known.items():
        module.add_arguments(add_command(commands, name, read_summary(module)))
    return parser


def _overrides(given: argparse.Namespace, command: ModuleType) -> dict[str, dict[str, Any]]:
    own: dict[str, dict[str, Any]] = getattr(command, "overrides", lambda _: {})(given)
    sections = {
        "model": {"id": getattr(given, "model", None)},
        "labels": {"file": getattr(given, "labels", None)},
        **own,
    }
    return {
        name: {key: value for key, value in values.items() if value is not None} for name, values in sections.items()
    }


def _print_error(error: Exception, code: int) -> int:
    from pawtag.log import escape_unprintable

    print(f"pawtag: {escape_unprintable(str(error))}", file=sys.stderr)
    return code


if __name__ == "__main__":
    entry()
