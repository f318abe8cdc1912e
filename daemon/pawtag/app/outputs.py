"""The outputs: other places, besides the record, for what it says."""

from collections.abc import Callable, Mapping

from pawtag.config import Settings
from pawtag.domain.ports import Output
from pawtag.metrics import Metrics
from pawtag.outputs.webhook import Webhook
from pawtag.pipeline.announcer import Announcer
from pawtag.state.database import StateDatabase
from pawtag.state.outbox import Outbox

# By the name under which a record keeps what the output wrote. A builder returns None where the settings ask for none.
OUTPUTS: dict[str, Callable[[Settings], Output | None]] = {}


def build_outputs(settings: Settings) -> Mapping[str, Output]:
    """The outputs that the settings ask for."""
    built = {name: build(settings) for name, build in OUTPUTS.items()}
    return {name: output for name, output in built.items() if output is not None}


def build_announcer(settings: Settings, database: StateDatabase) -> Announcer | None:
    """What puts announcements into the outbox; None without a webhook."""
    return Announcer(Outbox(database), settings.webhook.events) if settings.webhook.url else None


def build_webhook(settings: Settings, database: StateDatabase, metrics: Metrics) -> Webhook | None:
    """What sends them; None without one. Raises ConfigError."""
    return Webhook(settings.webhook, Outbox(database), metrics.count_webhook) if settings.webhook.url else None
