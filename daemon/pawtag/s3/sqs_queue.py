"""One SQS queue. All calls block, and may be made from any thread."""

import logging
from collections.abc import Sequence
from typing import Any

from pawtag.config import S3Settings
from pawtag.domain.errors import PawtagError, TemporaryError
from pawtag.s3.client import Client
from pawtag.s3.message_queue import MAX_BATCH_MESSAGES, Message
from pawtag.state.dead_letters import DeadLetters

log = logging.getLogger(__name__)

MAX_VISIBILITY_S = 43_200
STALE_RECEIPT = "ReceiptHandleIsInvalid"
REDRIVE_POLICY = "RedrivePolicy"
DEPTH_ATTRIBUTES = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


class SqsQueue:
    """A message queue. Every method raises what `Client.translate_errors` raises."""

    def __init__(self, client: Client, url: str, settings: S3Settings, dead_letters: DeadLetters) -> None:
        """`client`: an SQS client."""
        self._client, self.url, self._settings, self._dead_letters = client, url, settings, dead_letters

    def receive(self, wait_s: int) -> list[Message]:
        """Up to ten messages, invisible to others for the visibility timeout; none after `wait_s`."""
        with self._client.translate_errors(f"The queue {self.url}"):
            answer = self._client.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=min(MAX_BATCH_MESSAGES, self._settings.concurrency),
                WaitTimeSeconds=wait_s,
                VisibilityTimeout=self._settings.visibility_timeout_s,
                AttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
            )
        return [_parse_message(one) for one in answer.get("Messages", [])]

    def set_visibility(self, receipt: str, timeout_s: float) -> None:
        """Let others see the message after that time. An expired receipt is no error: somebody else has the message."""
        try:
            with self._client.translate_errors(self.url):
                self._client.change_message_visibility(
                    QueueUrl=self.url, ReceiptHandle=receipt, VisibilityTimeout=min(int(timeout_s), MAX_VISIBILITY_S)
                )
        except PawtagError as error:
            log.debug("%s", error)

    def delete(self, receipts: Sequence[str]) -> list[str]:
        """Delete up to ten messages; returns those to try again. One with a stale receipt is received again anyway."""
        entries = [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(receipts)]
        with self._client.translate_errors(self.url):
            answer = self._client.delete_message_batch(QueueUrl=self.url, Entries=entries)
        failed = [one for one in answer.get("Failed", []) if one.get("Code") != STALE_RECEIPT]
        return [receipts[int(one["Id"])] for one in failed]

    def send(self, bodies: Sequence[str]) -> None:
        """Send up to ten messages, and once more those that fail. Raises TemporaryError if some fail again."""
        for _ in range(2):
            entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
            with self._client.translate_errors(self.url):
                failed = self._client.send_message_batch(QueueUrl=self.url, Entries=entries).get("Failed", [])
            bodies = [bodies[int(one["Id"])] for one in failed]
            if not bodies:
                return
        raise TemporaryError(f"The queue {self.url} refused {len(bodies)} messages: {failed[0].get('Code')}.")

    def read_status(self) -> tuple[int, bool]:
        """The approximate number of messages, invisible ones included; whether the queue has a redrive policy."""
        with self._client.translate_errors(self.url):
            answer = self._client.get_queue_attributes(
                QueueUrl=self.url, AttributeNames=[*DEPTH_ATTRIBUTES, REDRIVE_POLICY]
            )
        attributes = answer.get("Attributes", {})
        depth = sum(int(attributes.get(name, 0)) for name in DEPTH_ATTRIBUTES)
        return depth, bool(attributes.get(REDRIVE_POLICY))

    def move_to_dead_letters(self, message: Message, reason: str) -> None:
        """Write the message to the local dead letters, then delete it from the queue."""
        try:
            self._dead_letters.add(self.url, reason, message.body, message.receives)
        except PawtagError as error:
            log.error("%s A message stays in the queue %s.", error, self.url)  # noqa: TRY400 - no bug of ours
            return
        fields = {"uri": self.url, "reason": reason}
        log.error("moved a message of the queue %s to the dead letters: %s", self.url, reason, extra=fields)
        self.delete([message.receipt])


def _parse_message(found: dict[str, Any]) -> Message:
    attributes = found.get("Attributes", {})
    sent_ms = attributes.get("SentTimestamp")
    return Message(
        found["ReceiptHandle"],
        found["Body"],
        int(attributes.get("ApproximateReceiveCount", 1)),
        int(sent_ms) / 1000 if sent_ms else None,
    )
