"""pawtag run: run the daemon: watch the folder or the bucket, and serve HTTP."""

import argparse
import asyncio
import logging
import os
import signal
from pathlib import Path
from typing import Any

from pawtag import log
from pawtag.app.daemon import serve
from pawtag.cli import INTERRUPTED
from pawtag.config import Settings
from pawtag.config.loading import describe_settings_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `run`."""
    parser.add_argument("--watch", type=Path, metavar="DIR", help="the folder to watch (default: ./photos)")
    parser.add_argument("--host", help="the address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="the port to listen on (default: 7860)")


def overrides(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What the command line says of the settings."""
    return {"folder": {"path": arguments.watch}, "server": {"host": arguments.host, "port": arguments.port}}


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run until SIGTERM or SIGINT. Return 0."""
    log.configure_logging(settings.log, in_background=True)
    logging.getLogger(__name__).info("%s", describe_settings_file(getattr(arguments, "config", None)))
    asyncio.run(_serve(settings))
    return 0


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        if stop.is_set():
            os._exit(INTERRUPTED)  # the second Ctrl+C: exit at once
        stop.set()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await serve(settings, stop)
