"""Addresses of objects, and which keys are photos."""

import pytest

from pawtag.config import S3Settings
from pawtag.domain.errors import ConfigError
from pawtag.domain.records import PhotoRef
from pawtag.s3.address import build_version_params, choose_photos, find_key_reason, format_uri, is_photo_key, parse_uri


@pytest.mark.parametrize("key", ["a.jpg", "a b/c+d.jpg", "s3://odd", ""])
def test_a_uri_round_trips(key):
    """Whatever characters the key has."""
    assert parse_uri(format_uri("pets", key)) == ("pets", key)


@pytest.mark.parametrize("text", ["pets/a.jpg", "http://pets/a.jpg", "s3://", "s3:///a.jpg"])
def test_a_uri_without_a_bucket_is_an_error(text):
    """The error shows the right form."""
    with pytest.raises(ConfigError, match="s3://BUCKET"):
        parse_uri(text)


def test_a_version_is_named_where_there_is_one():
    """Buckets without versions have none."""
    ref = PhotoRef("s3://pets/a.jpg", 1, 0)
    assert build_version_params(ref) == {"Bucket": "pets", "Key": "a.jpg"}


@pytest.mark.parametrize(
    ("key", "is_photo"),
    [
        ("in/a.JPG", True),
        ("in/IMG_0001", True),
        ("in/a.jpg.json", False),
        ("in/a.txt", False),
        ("in/", False),
        ("out/a.jpg", False),
        ("in/._IMG_1.jpg", False),
        ("in/.DS_Store", False),
        ("in/@eaDir/a.jpg", False),
        ("in/$RECYCLE.BIN/a.jpg", False),
        ("in/.Trash-1000/files/a.jpg", False),
        ("in/a.b/c.jpg", True),
    ],
)
def test_a_key_is_a_photo_by_prefix_and_name(key, is_photo):
    """Any case; a name without a suffix may be a photo; a sidecar and a folder marker never are."""
    assert is_photo_key(key, S3Settings(prefix="in/")) is is_photo


def test_keys_of_another_bucket_are_no_photos():
    """Where s3.bucket is set, it is the only one."""
    found = choose_photos(
        [("pets", ["a.jpg", None]), ("pets", ["a.txt"]), ("other", ["a.jpg"])], S3Settings(bucket="pets")
    )
    assert found.uris == ("s3://pets/a.jpg",)
    assert found.skipped == {"not-a-photo": 1, "other-bucket": 1}


def test_S05_what_is_a_photo_for_nobody_is_no_matter_of_a_prefix():
    """Our own sidecar objects below another prefix must not go round in the queue."""
    settings = S3Settings(prefix="photos/")
    assert find_key_reason("pets", "pawtag/photos/a.jpg.json", settings) == "not-a-photo"
    assert find_key_reason("pets", "other/a.jpg", settings) == "other-prefix"
