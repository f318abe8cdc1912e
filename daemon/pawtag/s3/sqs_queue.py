"""One SQS queue, call by call: all block, and may be made from any thread."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pawtag.clock import utc_timestamp
from pawtag.config import S3Settings
from pawtag.domain.errors import PawtagError, TemporaryError
from pawtag.s3.client import translate_errors
from pawtag.state import DeadLetters

log = logging.getLogger(__name__)

MAX_BATCH_MESSAGES = 10
MAX_VISIBILITY_TIMEOUT_S = 43_200
STALE_RECEIPT = "ReceiptHandleIsInvalid"
REDRIVE_POLICY = "RedrivePolicy"
DEPTH_ATTRIBUTES = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was received: how often, and what answers for it."""

    receipt: str
    body: str
    receives: int


class SqsQueue:
    """A queue. Every method raises what `explained` raises."""

    def __init__(self, client: Any, url: str, settings: S3Settings, dead_letters: DeadLetters) -> None:
        """`client`: boto3's for SQS."""
        self._client, self.url, self._settings, self._dead_letters = client, url, settings, dead_letters

    def receive(self, wait_s: int) -> list[Message]:
        """Up to ten messages, hidden from others for `visibility_timeout_s`; none after `wait_s`."""
        with translate_errors(f"The queue {self.url}"):
            found = self._client.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=min(MAX_BATCH_MESSAGES, self._settings.concurrency),
                WaitTimeSeconds=wait_s,
                VisibilityTimeout=self._settings.visibility_timeout_s,
                AttributeNames=["ApproximateReceiveCount"],
            )
        return [
            Message(one["ReceiptHandle"], one["Body"], int(one.get("Attributes", {}).get("ApproximateReceiveCount", 1)))
            for one in found.get("Messages", [])
        ]

    def set_visibility(self, receipt: str, for_s: float) -> None:
        """Keep it from others for that long. A receipt that has run out is no error: somebody else has it."""
        try:
            with translate_errors(self.url):
                self._client.change_message_visibility(
                    QueueUrl=self.url,
                    ReceiptHandle=receipt,
                    VisibilityTimeout=min(int(for_s), MAX_VISIBILITY_TIMEOUT_S),
                )
        except PawtagError as error:
            log.debug("%s", error)

    def delete(self, receipts: Sequence[str]) -> list[str]:
        """Delete up to ten; those of them that are to be tried again. One with a stale receipt comes again anyway."""
        entries = [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(receipts)]
        with translate_errors(self.url):
            answer = self._client.delete_message_batch(QueueUrl=self.url, Entries=entries)
        failed = [one for one in answer.get("Failed", []) if one.get("Code") != STALE_RECEIPT]
        return [receipts[int(one["Id"])] for one in failed]

    def send(self, bodies: Sequence[str]) -> None:
        """Send up to ten messages, those that fail once more. Raises TemporaryError where some do not get through."""
        for _ in range(2):
            entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
            with translate_errors(self.url):
                failed = self._client.send_message_batch(QueueUrl=self.url, Entries=entries).get("Failed", [])
            bodies = [bodies[int(one["Id"])] for one in failed]
            if not bodies:
                return
        raise TemporaryError(f"The queue {self.url} refused {len(bodies)} messages: {failed[0].get('Code')}.")

    def read_status(self) -> tuple[int, bool]:
        """About how many messages there are, hidden ones included; whether it puts away itself what fails for ever."""
        with translate_errors(self.url):
            found = self._client.get_queue_attributes(
                QueueUrl=self.url, AttributeNames=[*DEPTH_ATTRIBUTES, REDRIVE_POLICY]
            )
        attributes = found.get("Attributes", {})
        return sum(int(attributes.get(name, 0)) for name in DEPTH_ATTRIBUTES), bool(attributes.get(REDRIVE_POLICY))

    def move_to_dead_letters(self, message: Message, reason: str) -> None:
        """Write the message to the local dead letters, then delete it."""
        entry = {
            "at": utc_timestamp(),
            "queue": self.url,
            "receives": message.receives,
            "reason": reason,
            "body": message.body,
        }
        try:
            self._dead_letters.add(entry)
        except OSError as error:
            reason = f"{self._dead_letters.path} cannot be written ({error.strerror})"
            log.error("%s: the message stays in the queue %s", reason, self.url)  # noqa: TRY400 - no bug of ours
            return
        log.error("A message of %s was put into %s: %s", self.url, self._dead_letters.path, reason)
        self.delete([message.receipt])
