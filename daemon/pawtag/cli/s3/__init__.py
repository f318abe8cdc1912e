"""pawtag s3: brings a bucket up to date, sets it up, and checks it."""

import argparse

from pawtag import log
from pawtag.cli import build_common_options
from pawtag.config import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `s3`: a command of its own for each action."""
    from pawtag.cli.s3 import check, enqueue, scan, setup

    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for module in (scan, enqueue, setup, check):
        name, _, what = (module.__doc__ or "").partition(": ")
        said = what.rstrip(".\n")
        action = actions.add_parser(
            name.rpartition(" ")[2], help=said, description=said, parents=[build_common_options()]
        )
        action.set_defaults(module=module)
        module.add_arguments(action)


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Do what was asked for."""
    quiet = settings.log.model_copy(update={"level": "warning"}) if settings.log.level == "info" else settings.log
    log.configure_logging(quiet)
    return int(arguments.module.execute(arguments, settings))
