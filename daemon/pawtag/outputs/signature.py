"""Signatures of Standard Webhooks 1.0.0 ("Signature scheme"): HMAC-SHA256 of id, timestamp and body."""

import base64
import binascii
import hashlib
import hmac

from pawtag.domain.errors import ConfigError

PREFIX, VERSION = "whsec_", "v1"


def decode_secret(secret: str) -> bytes:
    """The key: base64 behind `whsec_`, else the bytes of the text. Raises ConfigError."""
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ConfigError(f"webhook.secret begins with {PREFIX}, and the rest is no base64 ({error}).") from error
    if not key:
        raise ConfigError(f"webhook.secret is {PREFIX} alone: the key is missing.")
    return key


def build_headers(message_id: str, timestamp_s: int, body: bytes, key: bytes | None) -> dict[str, str]:
    """The headers of one message; without a key it is not signed."""
    headers = {"Content-Type": "application/json", "webhook-id": message_id, "webhook-timestamp": str(timestamp_s)}
    if key:
        signed = hmac.new(key, f"{message_id}.{timestamp_s}.".encode() + body, hashlib.sha256).digest()
        headers["webhook-signature"] = f"{VERSION},{base64.b64encode(signed).decode()}"
    return headers
