"""Content-MD5 of a request's body, for stores that know no newer checksum."""

import base64
import hashlib
from io import BytesIO
from typing import Any


def send_content_md5(params: dict[str, Any], **_: Any) -> None:
    """Send Content-MD5 instead of boto3's CRC32: every store accepts Content-MD5, but many do not accept CRC32."""
    digest = hashlib.md5(_read_body(params["body"]), usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()
    params["context"].pop("checksum", None)


def _read_body(body: bytes | str | BytesIO) -> bytes:
    """Bytes of a request: botocore wraps the bytes of PutObject in a BytesIO, and an XML document may be a string.

    Raises TypeError for anything else: a digest of something else would be refused by the store for ever.
    """
    match body:
        case BytesIO():
            return body.getvalue()
        case bytes():
            return body
        case str():
            return body.encode()
    raise TypeError(f"no Content-MD5 of a body of type {type(body).__name__}")
