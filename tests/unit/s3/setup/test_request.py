"""The request of a setup: the names that it gives."""

from pawtag.s3.setup.request import SetupRequest


def test_each_prefix_and_queue_has_a_name_of_its_own():
    """So that two setups of a bucket do not affect each other."""
    requests = [SetupRequest("pets", prefix, queue) for prefix in ("", "cats/") for queue in ("one", "two")]
    assert len({request.name for request in requests}) == len(requests)


def test_a_name_fits_the_limits_of_aws():
    """At most 64 characters of letters, digits, dash and underscore, as EventBridge's rules need."""
    name = SetupRequest("a.very.long.bucket" * 4, "ü/", "q").name
    assert len(name) <= 64
    assert name.replace("-", "").replace("_", "").isalnum()
    assert name.isascii()
