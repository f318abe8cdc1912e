"""pawtag webhook: test the webhook."""

import argparse
import asyncio
import json
import secrets
from contextlib import closing

from pawtag.app.outputs import build_webhook
from pawtag.cli import add_command
from pawtag.clock import utc_timestamp
from pawtag.config import Settings
from pawtag.domain.errors import ConfigError, PawtagError
from pawtag.metrics import Metrics
from pawtag.outputs.webhook import Webhook
from pawtag.state.database import StateDatabase


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `webhook`."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add_command(commands, "test", "post a message of type 'test' to webhook.url, and print the answer")


def execute(_arguments: argparse.Namespace, settings: Settings) -> int:
    """Post it. Raises PawtagError if it is not accepted."""
    with closing(StateDatabase(settings.state.dir)) as database:
        webhook = build_webhook(settings, database, Metrics())
        if webhook is None:
            raise ConfigError("There is no webhook: set webhook.url.")
        problem = asyncio.run(_post(webhook))
    if problem:
        raise PawtagError(f"The webhook did not accept the message: {problem}.")
    print(f"the webhook accepted it ({'signed' if settings.webhook.secret else 'not signed: set webhook.secret'})")
    return 0


async def _post(webhook: Webhook) -> str | None:
    body = json.dumps({"type": "test", "timestamp": utc_timestamp(), "data": {}}).encode()
    async with webhook.connect() as session:
        return await webhook.post(session, f"test_{secrets.token_hex(8)}", body)
