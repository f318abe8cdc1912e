"""What to do with a message of a queue. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from pawtag.config import S3Settings
from pawtag.s3.address import OTHER_BUCKET, OTHER_PREFIX, choose_photos
from pawtag.s3.message_queue import Message
from pawtag.s3.messages import MessageError, ObjectHint, parse_message

# Without a redrive policy: after so many receives, an invalid or a failing message becomes a dead letter.
MAX_RECEIVES_INVALID, MAX_RECEIVES = 5, 50


class OtherBucketError(MessageError):
    """A message that names only other buckets."""


@dataclass(frozen=True, slots=True)
class Route:
    """What to do with a message.

    `tag` its photos, `leave` it until it is received again, `release` it for other daemons, or store it as a
    `dead-letter`. `reason`: why it is left, released or a dead letter. `skipped`: counts its other keys, by reason.
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
    # If the message names a fingerprint, other daemons may have received it: its receives do not count.
    if not fingerprints and has_redrive is False and message.receives >= MAX_RECEIVES:
        return Route("dead-letter", reason="It has failed too often.")
    return Route("tag", photos.uris, skipped=photos.skipped)


def _route_other_prefix(
    message: Message, settings: S3Settings, skipped: Counter[str], *, has_redrive: bool | None
) -> Route:
    """It may be for a daemon with another prefix that polls the same queue."""
    reason = (
        f"It names only keys that do not begin with {settings.prefix!r}: set this prefix in the bucket's notification, "
        "or give each daemon a queue of its own."
    )
    is_over = has_redrive is False and message.receives >= MAX_RECEIVES
    return Route("dead-letter" if is_over else "release", reason=reason, skipped=skipped)


def _require_own_bucket(hints: list[ObjectHint], settings: S3Settings) -> None:
    """Raise OtherBucketError if all hints name other buckets: they are for another daemon, or s3.bucket is wrong."""
    if hints and not any(settings.bucket in (None, hint.bucket) for hint in hints):
        raise OtherBucketError(f"It names the bucket {hints[0].bucket!r}, but s3.bucket is another.")
