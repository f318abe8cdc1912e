"""One SQS queue, call by call: all block, and may be made from any thread."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pawtag.config import S3Settings
from pawtag.domain.errors import PawtagError, TemporaryError
from pawtag.domain.records import now
from pawtag.s3.client import explained
from pawtag.state import DeadLetters

log = logging.getLogger(__name__)

AT_ONCE = 10
LONGEST_HIDDEN_S = 43_200
STALE_RECEIPT = "ReceiptHandleIsInvalid"
REDRIVE = "RedrivePolicy"
DEPTHS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was received: how often, and what answers for it."""

    receipt: str
    body: str
    receives: int


class Mailbox:
    """A queue. Every method raises what `explained` raises."""

    def __init__(self, client: Any, url: str, settings: S3Settings, dead_letters: DeadLetters) -> None:
        """`client`: boto3's for SQS."""
        self._client, self.url, self._settings, self._dead = client, url, settings, dead_letters

    def receive(self, wait_s: int) -> list[Message]:
        """Up to ten messages, hidden from others for `visibility_s`; none after `wait_s`."""
        with explained(f"The queue {self.url}"):
            found = self._client.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=min(AT_ONCE, self._settings.concurrency),
                WaitTimeSeconds=wait_s,
                VisibilityTimeout=self._settings.visibility_s,
                AttributeNames=["ApproximateReceiveCount"],
            )
        return [
            Message(one["ReceiptHandle"], one["Body"], int(one.get("Attributes", {}).get("ApproximateReceiveCount", 1)))
            for one in found.get("Messages", [])
        ]

    def hide(self, receipt: str, for_s: float) -> None:
        """Keep it from others for that long. A receipt that has run out is no error: somebody else has it."""
        try:
            with explained(self.url):
                self._client.change_message_visibility(
                    QueueUrl=self.url, ReceiptHandle=receipt, VisibilityTimeout=min(int(for_s), LONGEST_HIDDEN_S)
                )
        except PawtagError as error:
            log.debug("%s", error)

    def delete(self, receipts: Sequence[str]) -> list[str]:
        """Delete up to ten; those of them that are to be tried again. One with a stale receipt comes again anyway."""
        entries = [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(receipts)]
        with explained(self.url):
            answer = self._client.delete_message_batch(QueueUrl=self.url, Entries=entries)
        failed = [one for one in answer.get("Failed", []) if one.get("Code") != STALE_RECEIPT]
        return [receipts[int(one["Id"])] for one in failed]

    def send(self, bodies: Sequence[str]) -> None:
        """Send up to ten messages, those that fail once more. Raises TemporaryError where some do not get through."""
        for _ in range(2):
            entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
            with explained(self.url):
                failed = self._client.send_message_batch(QueueUrl=self.url, Entries=entries).get("Failed", [])
            bodies = [bodies[int(one["Id"])] for one in failed]
            if not bodies:
                return
        raise TemporaryError(f"The queue {self.url} refused {len(bodies)} messages: {failed[0].get('Code')}.")

    def ask(self) -> tuple[int, bool]:
        """About how many messages there are, hidden ones included; whether it puts away itself what fails for ever."""
        with explained(self.url):
            found = self._client.get_queue_attributes(QueueUrl=self.url, AttributeNames=[*DEPTHS, REDRIVE])
        attributes = found.get("Attributes", {})
        return sum(int(attributes.get(name, 0)) for name in DEPTHS), bool(attributes.get(REDRIVE))

    def bury(self, message: Message, reason: str) -> None:
        """Write the message to the local dead letters, then delete it."""
        letter = {"at": now(), "queue": self.url, "receives": message.receives, "reason": reason, "body": message.body}
        try:
            self._dead.bury(letter)
        except OSError as error:
            log.error("%s cannot be written (%s): a message stays in its queue.", self._dead.path, error.strerror)  # noqa: TRY400 - the sentence says it all
            return
        log.error("A message of %s was put into %s: %s", self.url, self._dead.path, reason)
        self.delete([message.receipt])
