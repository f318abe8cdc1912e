"""pawtag s3: sets a bucket up, checks it, and tags the photos that are there already."""

import argparse

from pawtag import log
from pawtag.cli import build_common_options
from pawtag.config import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `s3`: one subcommand for each action."""
    from pawtag.cli.s3 import check, enqueue, scan, setup

    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for module in (scan, enqueue, setup, check):
        name, _, text = (module.__doc__ or "").partition(": ")
        text = text.rstrip(".\n")
        options = [build_common_options()]
        action = actions.add_parser(name.rpartition(" ")[2], help=text, description=text, parents=options)
        action.set_defaults(module=module)
        module.add_arguments(action)


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the action."""
    quiet = settings.log.model_copy(update={"level": "warning"}) if settings.log.level == "info" else settings.log
    log.configure_logging(quiet)
    return int(arguments.module.execute(arguments, settings))
