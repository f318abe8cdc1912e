"""The exceptions: one class for each way to react. The user reads the text of the exception."""

from typing import Literal

ErrorCode = Literal[
    "empty",
    "not-an-image",
    "truncated",
    "too-many-pixels",
    "too-many-bytes",
    "unsupported",
    "unreadable",
    "bad-score",
    "killed-the-daemon",
]


class PawtagError(Exception):
    """Something pawtag can name in one clear sentence: exit code 1."""


class ConfigError(PawtagError):
    """A setting, a labels file or a command line is wrong: exit code 2."""


class ModelError(PawtagError):
    """A model is absent or damaged, or fails its self test."""


class OverloadedError(PawtagError):
    """The queue of requests is full: the caller should try again later."""


class TemporaryError(PawtagError):
    """A fault that may pass: try again after `delay_s` seconds."""

    def __init__(self, message: str, delay_s: float = 1.0) -> None:
        """Say what happened, and after how many seconds another try makes sense."""
        super().__init__(message)
        self.delay_s = delay_s


class MisconfigurationError(TemporaryError):
    """A fault that lasts until a person fixes it: permissions, credentials, names, a clock."""


class UnreachableError(TemporaryError):
    """The model hub cannot be reached, or something else answers in its place."""


class UnfinishedError(TemporaryError):
    """The photo is still being written: look again soon. This is not a fault."""


class ChangedError(TemporaryError):
    """The record of the photo has changed since it was read: look again. This is not a fault."""


class GoneError(PawtagError):
    """The photo does not exist any more, or is not available (an archived object): it needs no record."""

    def __init__(self, message: str, reason: str = "gone") -> None:
        """Say what happened; `reason`: why the photo is skipped, for metrics."""
        super().__init__(message)
        self.reason = reason


class PermanentError(PawtagError):
    """The photo cannot be tagged as it is. This is recorded once with `code`, and not tried again."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        """Say why, in a sentence for the user, with the record's error code."""
        super().__init__(message)
        self.code: ErrorCode = code
