"""Signatures of the webhook."""

import pytest

from pawtag.domain.errors import ConfigError
from pawtag.outputs.signature import build_headers, decode_secret

# From the documentation of Standard Webhooks' libraries.
SECRET, MESSAGE_ID, TIMESTAMP_S = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
BODY, SIGNATURE = b'{"test": 2432232314}', "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_message_is_signed_as_standard_webhooks_says():
    """Its published example."""
    headers = build_headers(MESSAGE_ID, TIMESTAMP_S, BODY, decode_secret(SECRET))
    assert headers["webhook-signature"] == SIGNATURE
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == (MESSAGE_ID, str(TIMESTAMP_S))


def test_any_text_is_a_secret_and_none_is_no_signature():
    """A prefix promises base64."""
    assert decode_secret("plain") == b"plain"
    assert "webhook-signature" not in build_headers("a", 1, b"", None)
    with pytest.raises(ConfigError, match="no base64"):
        decode_secret("whsec_%%%")
    with pytest.raises(ConfigError, match="missing"):
        decode_secret("whsec_")
