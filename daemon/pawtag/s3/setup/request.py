"""The request of a setup: which bucket, prefix, queue and transport. Pure."""

import hashlib
import re
from dataclasses import dataclass

NAME_PREFIX = "pawtag-"


@dataclass(frozen=True, slots=True)
class SetupRequest:
    """What to set up."""

    bucket: str
    prefix: str
    queue: str
    via: str = "s3"
    visibility_timeout_s: int = 60

    @property
    def name(self) -> str:
        """The name of our rule on the bucket, in EventBridge and in the queue's policy; one for each prefix and queue."""
        mark = hashlib.sha256(f"{self.bucket}/{self.prefix} {self.queue}".encode()).hexdigest()[:8]
        return re.sub(r"[^A-Za-z0-9_-]", "-", f"{NAME_PREFIX}{self.bucket}")[:55] + f"-{mark}"

    @property
    def dead_queue(self) -> str:
        """The name of the dead-letter queue."""
        return f"{self.queue}-dead"
