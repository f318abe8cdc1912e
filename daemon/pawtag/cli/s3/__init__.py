"""pawtag s3: set up a bucket, check it, and tag the photos that it already holds."""

import argparse

from pawtag import log
from pawtag.cli import add_command, read_summary
from pawtag.config import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `s3`: one subcommand for each action."""
    from pawtag.cli.s3 import check, enqueue, scan, setup

    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for module in (scan, enqueue, setup, check):
        action = add_command(actions, module.__name__.rpartition(".")[2], read_summary(module))
        action.set_defaults(module=module)
        module.add_arguments(action)


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the action."""
    quiet = settings.log.model_copy(update={"level": "warning"}) if settings.log.level == "info" else settings.log
    log.configure_logging(quiet)
    return int(arguments.module.execute(arguments, settings))
