"""URIs of objects, `s3://bucket/key`, and which keys are photos. Pure."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pawtag.config import S3Settings
from pawtag.domain.errors import ConfigError
from pawtag.domain.records import OBJECT_SCHEME, PhotoRef
from pawtag.files import is_ignored_name, matches_any

SCHEME = OBJECT_SCHEME
SIDECAR_SUFFIXES = (".json", ".xmp")
OTHER_BUCKET, OTHER_PREFIX, NOT_A_PHOTO = "other-bucket", "other-prefix", "not-a-photo"


def format_uri(bucket: str, key: str) -> str:
    """`s3://bucket/key`."""
    return f"{SCHEME}{bucket}/{key}"


def parse_uri(uri: str) -> tuple[str, str]:
    """The bucket, and the key or prefix, of a URI. Raises ConfigError."""
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    if not uri.startswith(SCHEME) or not bucket:
        raise ConfigError(f"{uri!r} is no URI of a bucket; write s3://BUCKET or s3://BUCKET/PREFIX.")
    return bucket, key


def build_object_params(uri: str) -> dict[str, Any]:
    """The object as boto3's parameters."""
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    return {"Bucket": bucket, "Key": key}


def read_etag(found: Mapping[str, Any], size_bytes: int) -> str:
    """The ETag of an answer or of a listing's entry. If the store sends none: a digest of size and time."""
    if etag := found.get("ETag"):
        return str(etag).strip('"')
    modified = found.get("LastModified")
    text = f"{size_bytes} {int(modified.timestamp()) if modified else 0}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def build_version_params(ref: PhotoRef) -> dict[str, Any]:
    """That version of the object as boto3's parameters."""
    return build_object_params(ref.uri) | ({"VersionId": ref.version_id} if ref.version_id else {})


@dataclass(frozen=True, slots=True)
class ChosenPhotos:
    """The URIs of photos among keys, and how many keys are not, by reason."""

    uris: tuple[str, ...]
    skipped: Counter[str]


def choose_photos(named: Iterable[tuple[str, Sequence[str | None]]], settings: S3Settings) -> ChosenPhotos:
    """The photos among the objects that notifications name: each a bucket, with one or two readings of its key."""
    uris: dict[str, None] = {}
    skipped: Counter[str] = Counter()
    for bucket, readings in named:
        keys = [key for key in readings if key]
        reasons = [find_key_reason(bucket, key, settings) for key in keys]
        found = [format_uri(bucket, key) for key, reason in zip(keys, reasons, strict=True) if reason is None]
        uris |= dict.fromkeys(found)
        if not found and reasons:
            skipped[str(reasons[0])] += 1
    return ChosenPhotos(tuple(uris), skipped)


def find_key_reason(bucket: str, key: str, settings: S3Settings) -> str | None:
    """Why an object is no photo of ours: another bucket, another prefix, its name; None for a photo."""
    if settings.bucket not in (None, bucket):
        return OTHER_BUCKET
    if not _has_photo_name(key, settings):
        return NOT_A_PHOTO  # for any prefix
    return None if key.startswith(settings.prefix) else OTHER_PREFIX


def is_photo_key(key: str, settings: S3Settings) -> bool:
    """Whether the key is below the prefix and is named like a photo, or has no suffix.

    Sidecars, hidden files and files in service folders are no photos: ._IMG_1.jpg, .DS_Store, @eaDir/x.jpg.
    """
    return key.startswith(settings.prefix) and _has_photo_name(key, settings)


def _has_photo_name(key: str, settings: S3Settings) -> bool:
    name = key.rpartition("/")[2]
    if not name or name.lower().endswith(SIDECAR_SUFFIXES):
        return False
    if any(is_ignored_name(part) for part in key.removeprefix(settings.prefix).split("/")):
        return False
    return "." not in name.lstrip(".") or matches_any(name, settings.patterns)
