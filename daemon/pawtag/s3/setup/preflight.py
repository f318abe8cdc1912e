"""Preflight checks: a real call for each permission. The calls change nothing.

One exception: a message that the check receives counts as received once more.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pawtag.config import S3Settings
from pawtag.domain.errors import PawtagError
from pawtag.domain.records import PhotoRef
from pawtag.s3.address import build_object_params
from pawtag.s3.client import Client
from pawtag.s3.client_errors import ARCHIVED, OBJECT_NOT_FOUND, has_code
from pawtag.s3.listing import Listing
from pawtag.s3.object_sidecars import PRECONDITION_FAILED
from pawtag.s3.object_tags import TAGGING_NOT_IMPLEMENTED, ObjectTags
from pawtag.s3.setup.notification import Notification
from pawtag.s3.tag_encoding import is_ours

ABSENT_KEY = ".pawtag-check-of-permissions"
# The refusals for an empty object, an archived one, and one with a customer-provided key: reading is permitted.
UNREADABLE_CODES = frozenset({"InvalidRange", ARCHIVED, "InvalidRequest"})
ABSENT_CODES = frozenset({"NoSuchKey", "NoSuchVersion"})
INVALID_RECEIPT = "pawtag"
INVALID_RECEIPT_CODES = frozenset(
    {"ReceiptHandleIsInvalid", "InvalidParameterValue", "AWS.SimpleQueueService.MessageNotInflight"}
)
SAMPLE_SIZE = 20


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check: right, wrong (`advice` says what to do), or None if it cannot be known."""

    what: str
    is_right: bool | None = True
    advice: str = ""


def check_bucket(s3: Client, settings: S3Settings, listing: Listing) -> Iterator[CheckResult]:
    """What a daemon does with the objects of a bucket below a prefix."""
    yield from _check_region(s3, listing.bucket)
    try:
        page = next(listing.pages(), None)
    except PawtagError as error:
        page = None
        # Without s3:ListBucket, S3 answers 403 for missing objects. Then no record is written, and no deletion noticed.
        yield CheckResult("list the bucket", is_right=False, advice=str(error))
    else:
        yield CheckResult("list the bucket")
    sample = page.photos[:SAMPLE_SIZE] if page else ()
    version: dict[str, str] = {}  # a versioned bucket asks for other permissions
    yield from _check_reading(s3, sample, version)
    yield from _check_writing(s3, settings, listing, version)
    yield from _check_other_writers(ObjectTags(s3), sample, s3.tuning.second_look_delay_s)


def check_queue(sqs: Client, url: str) -> Iterator[CheckResult]:
    """What a daemon does with its queue, and the state of the queue."""
    yield check_call(sqs, "receive messages", lambda: sqs.receive_message(QueueUrl=url, VisibilityTimeout=0))
    change = {"QueueUrl": url, "ReceiptHandle": INVALID_RECEIPT, "VisibilityTimeout": 0}
    yield check_call(
        sqs,
        "extend the visibility timeout",
        lambda: sqs.change_message_visibility(**change),
        INVALID_RECEIPT_CODES,
    )
    entries = [{"Id": "0", "ReceiptHandle": INVALID_RECEIPT}]
    delete = lambda: sqs.delete_message_batch(QueueUrl=url, Entries=entries)  # noqa: E731 - one call
    yield check_call(sqs, "delete messages", delete, INVALID_RECEIPT_CODES)
    try:
        with sqs.translate_errors(url):
            attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    except PawtagError as error:
        yield CheckResult("read the queue's attributes", is_right=False, advice=str(error))
        return
    pending, in_flight = (attributes.get(f"ApproximateNumberOfMessages{part}", "?") for part in ("", "NotVisible"))
    yield CheckResult(f"{pending} messages are pending, {in_flight} are in flight")
    if "RedrivePolicy" not in attributes:
        advice = "It has none: messages that always fail go to the daemon's local dead letters."
        yield CheckResult("the queue has a dead-letter queue", is_right=None, advice=advice)


def check_notification(s3: Client, uri: tuple[str, str], queue_arn: str) -> CheckResult:
    """Whether the bucket notifies the queue of uploads below the prefix, as far as permissions allow to know."""
    try:
        is_notified = Notification(s3, uri[0]).covers(queue_arn, uri[1])
    except PawtagError as error:
        advice = f"{error} Only set-up and this check need it."
        return CheckResult("read the bucket's notification", is_right=None, advice=advice)
    advice = "Run 'pawtag s3 setup'." if is_notified is False else "EventBridge or a topic may do it."
    return CheckResult("the bucket notifies the queue", is_right=is_notified, advice="" if is_notified else advice)


def check_call(
    client: Client, what: str, call: Callable[[], object], allowed_codes: frozenset[str] = frozenset()
) -> CheckResult:
    """Make the call. Success shows the permission, and so do refusals that only permitted callers receive."""
    try:
        with client.translate_errors(what):
            call()
    except PawtagError as error:
        if not has_code(error, allowed_codes):
            return CheckResult(what, is_right=False, advice=str(error).removeprefix(f"{what}: "))
    return CheckResult(what)


def read_queue_arn(sqs: Client, url: str) -> str | None:
    """The queue's ARN; None without the permission to read it."""
    try:
        with sqs.translate_errors(url):
            return str(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])
    except PawtagError:
        return None


def _check_reading(s3: Client, sample: tuple[PhotoRef, ...], version: dict[str, str]) -> Iterator[CheckResult]:
    """Read the first photo and its tags; `version` receives its VersionId in a versioned bucket."""
    if not sample:
        yield CheckResult("read a photo", is_right=None, advice="The bucket has none: upload one and check again.")
        return
    first = build_object_params(sample[0].uri)
    codes = OBJECT_NOT_FOUND | UNREADABLE_CODES
    yield check_call(s3, "read a photo", lambda: version.update(_read_version(s3, first)), codes)
    yield check_call(s3, "read its tags", lambda: s3.get_object_tagging(**first, **version), OBJECT_NOT_FOUND)


def _check_writing(
    s3: Client, settings: S3Settings, listing: Listing, version: dict[str, str]
) -> Iterator[CheckResult]:
    """Write the tags of an object that does not exist, and a sidecar object under an ETag that nothing has."""
    key = listing.prefix + ABSENT_KEY
    if settings.output != "sidecar":
        tag_set = {"TagSet": [{"Key": "pawtag:fingerprint", "Value": "check"}]}
        absent = {"Bucket": listing.bucket, "Key": key, **version}
        tag = lambda: s3.put_object_tagging(**absent, Tagging=tag_set)  # noqa: E731 - one call
        yield _explain_tagging(check_call(s3, "write tags", tag, ABSENT_CODES))
    sidecar = {"Bucket": settings.sidecar_bucket or listing.bucket, "Key": f"{settings.sidecar_prefix}{key}.json"}
    put = lambda: s3.put_object(**sidecar, Body=b"", IfMatch='"0"')  # noqa: E731 - one call
    yield check_call(s3, "write a sidecar object", put, OBJECT_NOT_FOUND | PRECONDITION_FAILED)


def _read_version(s3: Client, params: dict[str, str]) -> dict[str, str]:
    """Read one byte of the object; returns its VersionId as a parameter, if it has one."""
    answer = s3.get_object(**params, Range="bytes=0-0")
    answer["Body"].close()
    version_id = answer.get("VersionId")
    return {"VersionId": version_id} if version_id not in (None, "null") else {}


def _explain_tagging(result: CheckResult) -> CheckResult:
    if result.is_right or not any(code in result.advice for code in TAGGING_NOT_IMPLEMENTED):
        return result
    return CheckResult(
        result.what, is_right=False, advice="This store supports no object tags: set s3.output = 'sidecar'."
    )


def _check_region(s3: Client, bucket: str) -> Iterator[CheckResult]:
    try:
        with s3.translate_errors(f"The bucket {bucket}"):
            region = s3.head_bucket(Bucket=bucket).get("BucketRegion")
    except PawtagError as error:
        yield CheckResult("reach the bucket", is_right=False, advice=str(error))
        return
    if region and region != s3.region:
        advice = f"It is in {region}, and requests go to {s3.region}: set s3.region, or pay for the traffic."
        yield CheckResult("the bucket's region", is_right=False, advice=advice)


def _check_other_writers(tags: ObjectTags, sample: tuple[PhotoRef, ...], delay_s: float) -> Iterator[CheckResult]:
    """Read the tags of others twice: two programs that write tags at the same moment may overwrite each other."""
    try:
        before = [_filter_foreign(tags.read(ref)) for ref in sample]
        if not any(before):
            return
        time.sleep(delay_s)
        after = [_filter_foreign(tags.read(ref)) for ref in sample]
    except PawtagError:
        return  # an earlier check names it
    advice = "S3 has no conditional write for tags: one program may overwrite the other's. Set s3.output = 'sidecar'."
    yield CheckResult("nobody else changes tags", is_right=before == after, advice="" if before == after else advice)


def _filter_foreign(tags: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in tags.items() if not is_ours(name)}
