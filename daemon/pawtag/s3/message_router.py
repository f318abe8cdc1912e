"""What to do with a message of a queue. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from pawtag.config import S3Settings
from pawtag.s3.address import OTHER_BUCKET, OTHER_PREFIX, choose_photos
from pawtag.s3.message_queue import Message
from pawtag.s3.messages import MessageError, ObjectHint, parse_message

# Without a redrive policy: receives until an invalid message, and one that fails for hours, is a dead letter.
MAX_RECEIVES_INVALID, MAX_RECEIVES = 5, 50


class OtherBucketError(MessageError):
    """A message about another bucket alone."""


@dataclass(frozen=True, slots=True)
class Route:
    """`tag` its photos, `leave` it to come again, `release` it to other daemons, or keep it as a `dead-letter`.

    `reason` says why it is left, or is a local dead letter; `skipped` counts what it names besides, by reason.
    """

    action: Literal["tag", "leave", "release", "dead-letter"]
    uris: tuple[str, ...] = ()
    reason: str = ""
    skipped: Counter[str] = field(default_factory=Counter)


def route_message(message: Message, settings: S3Settings, fingerprint: str, *, has_redrive: bool | None) -> Route:
    """The route of one message. `fingerprint`: this daemon's; `has_redrive`: None where the queue does not say."""
    try:
        hints = parse_message(message.body)
        photos = choose_photos(((hint.bucket, (hint.key, hint.other_key)) for hint in hints), settings)
        _require_own_bucket(hints, settings)
    except MessageError as error:
        is_over = has_redrive is False and message.receives >= MAX_RECEIVES_INVALID
        skipped = Counter({OTHER_BUCKET: 1}) if isinstance(error, OtherBucketError) else Counter[str]()
        return Route("dead-letter" if is_over else "leave", reason=str(error), skipped=skipped)
    fingerprints = {hint.fingerprint for hint in hints} - {None}
    if fingerprints - {fingerprint}:
        return Route("release")
    if photos.skipped and not photos.uris and set(photos.skipped) == {OTHER_PREFIX}:
        return _route_other_prefix(message, settings, photos.skipped, has_redrive=has_redrive)
    # A message that names a fingerprint may have been received by daemons with another one.
    if not fingerprints and has_redrive is False and message.receives >= MAX_RECEIVES:
        return Route("dead-letter", reason="It has failed too often.")
    return Route("tag", photos.uris, skipped=photos.skipped)


def _route_other_prefix(
    message: Message, settings: S3Settings, skipped: Counter[str], *, has_redrive: bool | None
) -> Route:
    """It may be for a daemon with another prefix that polls the same queue."""
    reason = (
        f"It is about keys that do not begin with {settings.prefix!r}: let the bucket send only those (a prefix in its "
        "notification), or give each daemon a queue of its own."
    )
    is_over = has_redrive is False and message.receives >= MAX_RECEIVES
    return Route("dead-letter" if is_over else "release", reason=reason, skipped=skipped)


def _require_own_bucket(hints: list[ObjectHint], settings: S3Settings) -> None:
    """Raises OtherBucketError for hints about another bucket alone: they are another daemon's, or s3.bucket is wrong."""
    if hints and not any(settings.bucket in (None, hint.bucket) for hint in hints):
        raise OtherBucketError(f"It names the bucket {hints[0].bucket!r}, but s3.bucket is another.")
