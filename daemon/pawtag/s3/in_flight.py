"""Messages in hand: what has become of the photos that each tells of, and so of the message itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pawtag.domain.records import Event, PhotoRef
from pawtag.s3.sqs_queue import Message

RECEIVE_AGAIN_S = 5.0


@dataclass(slots=True, eq=False)
class InFlightMessage:
    """A message in hand: acknowledged once all its photos are done; given back where one has failed for now."""

    receipt: str
    photos_left: int
    delay_s: float | None


class InFlightMessages:
    """All messages of a queue that are in hand. Lives on the event loop."""

    def __init__(self, give_back: Callable[[str, float], object]) -> None:
        """`give_back` hears which receipt is to be handed out again, and after how many seconds."""
        self._give_back = give_back
        self._photos: set[str] = set()
        self.unfinished: set[InFlightMessage] = set()
        """To be kept from others."""
        self.done: list[str] = []
        """Receipts of what is to be acknowledged."""

    def open(self, message: Message, photos: Mapping[str, int]) -> list[Event]:
        """An event for each photo, by its size, that is not in hand already; what is comes again soon."""
        if not photos:
            self.done.append(message.receipt)
            return []
        fresh = {uri: size for uri, size in photos.items() if uri not in self._photos}
        if not fresh:
            self._give_back(message.receipt, RECEIVE_AGAIN_S)
            return []
        entry = InFlightMessage(message.receipt, len(fresh), RECEIVE_AGAIN_S if len(fresh) < len(photos) else None)
        self.unfinished.add(entry)
        self._photos |= set(fresh)
        return [Event(PhotoRef(uri, size, 0), entry, message.receives - 1) for uri, size in fresh.items()]

    def finish(self, event: Event, delay_s: float | None) -> None:
        """The event is done, or to come again after the delay."""
        entry = event.receipt
        if not isinstance(entry, InFlightMessage):
            return
        self._photos.discard(event.ref.uri)
        entry.photos_left -= 1
        if delay_s is not None:
            entry.delay_s = max(delay_s, entry.delay_s or 0)
        if entry.photos_left == 0:
            self.unfinished.discard(entry)
            if entry.delay_s is None:
                self.done.append(entry.receipt)
            else:
                self._give_back(entry.receipt, entry.delay_s)
