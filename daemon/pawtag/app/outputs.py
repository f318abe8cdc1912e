"""The outputs: places, besides the record, that also get its content."""

from collections.abc import Callable, Mapping
from pathlib import Path

from pawtag.config import Settings
from pawtag.domain.ports import Output
from pawtag.domain.records import Json, PhotoRef
from pawtag.metrics import Metrics
from pawtag.outputs.webhook import Webhook
from pawtag.pipeline.announcer import Announcer
from pawtag.state.database import StateDatabase
from pawtag.state.outbox import Outbox
from pawtag.state.output_intents import OutputIntents

XMP = "xmp"
OutputBuilder = Callable[[Settings, StateDatabase], Output]


def _build_xmp(settings: Settings, database: StateDatabase) -> Output:
    from pawtag.outputs.xmp.output import XmpOutput  # lxml only where it is used

    intents = OutputIntents(database, XMP)
    return XmpOutput(settings.sidecar.xmp_root, intents, settings.limits.max_file_bytes)


# By the output's name in `record.outputs`: whether the settings switch it on, and the function that builds it.
OUTPUTS: dict[str, tuple[Callable[[Settings], bool], OutputBuilder]] = {
    XMP: (lambda settings: settings.sidecar.xmp, _build_xmp)
}


def build_outputs(settings: Settings, database: StateDatabase) -> Mapping[str, Output]:
    """The outputs that the settings ask for."""
    return {name: build(settings, database) for name, (is_set, build) in OUTPUTS.items() if is_set(settings)}


class OutputRemoval:
    """Removes what outputs wrote, even if the settings have switched them off since."""

    def __init__(self, settings: Settings, database: StateDatabase) -> None:
        """Blocks."""
        self._outputs = {name: build(settings, database) for name, (_, build) in OUTPUTS.items()}

    async def remove(self, photo: PhotoRef, written: Mapping[str, Json]) -> None:
        """Remove what outputs wrote for it. `written`: its `record.outputs`. Raises GoneError, TemporaryError."""
        for name, output in self._outputs.items():
            await output.remove(photo, written.get(name))

    async def remove_unsettled(self, root: Path) -> None:
        """Remove what is written below `root` but is in no record, because a process ended between the two writes.

        Raises TemporaryError.
        """
        for output in self._outputs.values():
            for uri in [uri for uri in output.unsettled if Path(uri).is_relative_to(root)]:
                await output.remove(PhotoRef(uri), None)


def build_announcer(settings: Settings, database: StateDatabase) -> Announcer | None:
    """The announcer, which puts announcements into the outbox; None without a webhook."""
    return Announcer(Outbox(database), settings.webhook.events) if settings.webhook.url else None


def build_webhook(settings: Settings, database: StateDatabase, metrics: Metrics) -> Webhook | None:
    """The webhook, which sends the announcements; None if webhook.url is not set. Raises ConfigError."""
    return Webhook(settings.webhook, Outbox(database), metrics.count_webhook) if settings.webhook.url else None
