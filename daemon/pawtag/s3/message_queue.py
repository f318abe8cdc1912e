"""The port of a message queue, independent of the provider. `SqsQueue` is the only implementation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

MAX_BATCH_MESSAGES = 10


@dataclass(frozen=True, slots=True)
class Message:
    """A message, its receipt handle, how often it has been received, and when it was sent (seconds since the epoch)."""

    receipt: str
    body: str
    receives: int
    sent_at_s: float | None = None


class MessageQueue(Protocol):
    """A queue. All calls block, come from any thread, and raise TemporaryError where the queue fails."""

    url: str

    def receive(self, wait_s: int) -> list[Message]:
        """Up to MAX_BATCH_MESSAGES messages, invisible to others for the visibility timeout; none after `wait_s`."""

    def set_visibility(self, receipt: str, timeout_s: float) -> None:
        """Let others see the message after that time. An expired receipt is no error."""

    def delete(self, receipts: Sequence[str]) -> list[str]:
        """Delete up to MAX_BATCH_MESSAGES messages; returns those to try again."""

    def send(self, bodies: Sequence[str]) -> None:
        """Send up to MAX_BATCH_MESSAGES messages."""

    def read_status(self) -> tuple[int, bool]:
        """The approximate number of messages; whether the queue moves failing messages away by itself."""

    def move_to_dead_letters(self, message: Message, reason: str) -> None:
        """Write the message to the local dead letters, then delete it from the queue."""
