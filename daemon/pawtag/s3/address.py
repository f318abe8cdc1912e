"""URIs of objects, `s3://bucket/key`, and which keys are photos. Pure."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from pawtag.config import S3Settings
from pawtag.domain.errors import ConfigError
from pawtag.domain.records import PhotoRef

SCHEME = "s3://"
SIDECAR_SUFFIX = ".json"


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


def build_version_params(ref: PhotoRef) -> dict[str, Any]:
    """That version of the object as boto3's parameters."""
    return build_object_params(ref.uri) | ({"VersionId": ref.version_id} if ref.version_id else {})


def list_photo_uris(bucket: str, keys: Iterable[str | None], settings: S3Settings) -> list[str]:
    """The URIs of the keys that may be photos: in `s3.bucket` if that is set, and below `s3.prefix`."""
    if settings.bucket not in (None, bucket):
        return []
    return [format_uri(bucket, key) for key in keys if key and is_photo_key(key, settings)]


def is_photo_key(key: str, settings: S3Settings) -> bool:
    """Whether the key is below the prefix and is named like a photo, or has no suffix. A sidecar never is."""
    name = key.rpartition("/")[2]
    if not name or name.endswith(SIDECAR_SUFFIX) or not key.startswith(settings.prefix):
        return False
    return "." not in name.lstrip(".") or any(fnmatchcase(name.lower(), one.lower()) for one in settings.patterns)
