"""Messages in flight: a message is done when all its photos are done."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pawtag.domain.records import Event, PhotoRef
from pawtag.s3.message_queue import Message


@dataclass(slots=True, eq=False)
class InFlightMessage:
    """A message whose photos are being tagged. `delay_s`: not None if it must be received again, after this delay."""

    receipt: str
    photos_left: int
    delay_s: float | None
    sent_at_s: float | None = None


class InFlightMessages:
    """The messages of one queue that are in flight. Lives on the event loop."""

    def __init__(self, give_back: Callable[[str, float], object], busy_delay_s: float) -> None:
        """Calls `give_back(receipt, delay_s)` for a message that must be received again.

        `busy_delay_s`: the delay of a message about a photo that another message in flight also names.
        """
        self._give_back, self._busy_delay_s = give_back, busy_delay_s
        self._photos: set[str] = set()
        self.unfinished: set[InFlightMessage] = set()
        """They must stay invisible to others."""
        self.done: list[str] = []
        """Receipts to delete."""

    def find_oldest_age_s(self) -> float:
        """How long ago the oldest message in flight was sent; 0 without any."""
        sent = [entry.sent_at_s for entry in self.unfinished if entry.sent_at_s is not None]
        return max(0.0, time.time() - min(sent)) if sent else 0.0

    def open(self, message: Message, uris: Sequence[str]) -> list[Event]:
        """An event for each photo that is not in flight already."""
        if not uris:
            self.done.append(message.receipt)
            return []
        fresh = [uri for uri in uris if uri not in self._photos]
        if not fresh:
            self._give_back(message.receipt, self._busy_delay_s)
            return []
        delay_s = self._busy_delay_s if len(fresh) < len(uris) else None
        entry = InFlightMessage(message.receipt, len(fresh), delay_s, message.sent_at_s)
        self.unfinished.add(entry)
        self._photos |= set(fresh)
        return [Event(PhotoRef(uri), entry, message.receives - 1) for uri in fresh]

    def finish(self, event: Event, delay_s: float | None) -> None:
        """The photo is done, or must come again after `delay_s`. The last photo finishes its message."""
        entry = event.receipt
        if not isinstance(entry, InFlightMessage):
            return
        self._photos.discard(event.ref.uri)
        entry.photos_left -= 1
        if delay_s is not None:
            entry.delay_s = max(delay_s, entry.delay_s or 0)
        if entry.photos_left == 0:
            self._close(entry)

    def _close(self, entry: InFlightMessage) -> None:
        self.unfinished.discard(entry)
        if entry.delay_s is None:
            self.done.append(entry.receipt)
        else:
            self._give_back(entry.receipt, entry.delay_s)
