"""Does it work, and if not, what is missing? Each permission is proved by a real call that changes nothing.

But that a message which is received for the proof counts as received once more.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from pawtag.config import S3Settings
from pawtag.domain.errors import PawtagError
from pawtag.domain.records import PhotoRef
from pawtag.s3.address import object_params
from pawtag.s3.client import ARCHIVED, OBJECT_NOT_FOUND, error_code, translate_errors
from pawtag.s3.listing import Listing
from pawtag.s3.object_sidecars import PRECONDITION_FAILED
from pawtag.s3.object_tags import TAGGING_NOT_IMPLEMENTED, ObjectTags
from pawtag.s3.setup.notification import Notification
from pawtag.s3.tag_encoding import is_ours

ABSENT_KEY = ".pawtag-check-of-permissions"
UNREADABLE_CODES = ("InvalidRange", ARCHIVED, "InvalidRequest")  # empty, asleep, or under a customer's own key
ABSENT_CODES = ("NoSuchKey", "NoSuchVersion")
INVALID_RECEIPT = "pawtag"
INVALID_RECEIPT_CODES = ("ReceiptHandleIsInvalid", "InvalidParameterValue", "AWS.SimpleQueueService.MessageNotInflight")
SAMPLE_SIZE, SECOND_LOOK_DELAY_S = 20, 5.0


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing that was looked at: right, wrong (then `advice` says what to do), or None: it cannot be told."""

    what: str
    is_right: bool | None = True
    advice: str = ""


def check_bucket(s3: Any, settings: S3Settings, listing: Listing) -> Iterator[CheckResult]:
    """What a daemon does with the objects of a bucket below a prefix."""
    bucket, prefix = listing.bucket, listing.prefix
    yield from _check_region(s3, bucket)
    try:
        page = next(listing.pages(), None)
    except PawtagError as error:
        page = None
        # Without it S3 calls forbidden what is not there: no record would be written, and no deletion noticed.
        yield CheckResult("list the bucket", is_right=False, advice=str(error))
    else:
        yield CheckResult("list the bucket")
    sample = page.photos[:SAMPLE_SIZE] if page else ()
    of_version: dict[str, str] = {}  # what a versioned bucket wants other permissions for
    if sample:
        yield check_call(
            "read a photo", lambda: of_version.update(_read(s3, sample[0])), *OBJECT_NOT_FOUND, *UNREADABLE_CODES
        )
        yield check_call(
            "read its tags",
            lambda: s3.get_object_tagging(**object_params(sample[0].uri), **of_version),
            *OBJECT_NOT_FOUND,
        )
    else:
        yield CheckResult(
            "read a photo", is_right=None, advice="There is none to try with: upload one, and check again."
        )
    if settings.output != "sidecar":
        tag_set = {"TagSet": [{"Key": "pawtag:fingerprint", "Value": "check"}]}
        absent = {"Bucket": bucket, "Key": prefix + ABSENT_KEY, **of_version}
        yield _explain_tagging(
            check_call("write tags", lambda: s3.put_object_tagging(**absent, Tagging=tag_set), *ABSENT_CODES)
        )
    sidecars = {
        "Bucket": settings.sidecar_bucket or bucket,
        "Key": f"{settings.sidecar_prefix}{prefix}{ABSENT_KEY}.json",
    }
    write = lambda: s3.put_object(**sidecars, Body=b"", IfMatch='"0"')  # noqa: E731 - nothing has that ETag
    yield check_call("write a record beside a photo", write, *OBJECT_NOT_FOUND, *PRECONDITION_FAILED)
    yield from _check_other_writers(ObjectTags(s3), sample)


def check_queue(sqs: Any, url: str) -> Iterator[CheckResult]:
    """What a daemon does with its queue, and how the queue is."""
    yield check_call("receive messages", lambda: sqs.receive_message(QueueUrl=url, VisibilityTimeout=0))
    hide = {"QueueUrl": url, "ReceiptHandle": INVALID_RECEIPT, "VisibilityTimeout": 0}
    yield check_call("keep messages hidden", lambda: sqs.change_message_visibility(**hide), *INVALID_RECEIPT_CODES)
    entries = [{"Id": "0", "ReceiptHandle": INVALID_RECEIPT}]
    yield check_call(
        "delete messages", lambda: sqs.delete_message_batch(QueueUrl=url, Entries=entries), *INVALID_RECEIPT_CODES
    )
    try:
        with translate_errors(url):
            found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    except PawtagError as error:
        yield CheckResult("ask how the queue is", is_right=False, advice=str(error))
        return
    waiting, hidden = (found.get(f"ApproximateNumberOfMessages{part}", "?") for part in ("", "NotVisible"))
    yield CheckResult(f"{waiting} messages wait, {hidden} are in hand")
    if "RedrivePolicy" not in found:
        advice = "It has no dead-letter queue: such messages go to the daemon's own dead letters."
        yield CheckResult("the queue puts away what fails for ever", is_right=None, advice=advice)


def check_notification(s3: Any, uri: tuple[str, str], queue_arn: str) -> CheckResult:
    """Whether the bucket tells the queue of uploads below the prefix, as far as may be asked."""
    try:
        is_told = Notification(s3, uri[0]).holds(queue_arn, uri[1])
    except PawtagError as error:
        return CheckResult(
            "ask whom the bucket tells", is_right=None, advice=f"{error} Only setup and this check need it."
        )
    advice = "Run 'pawtag s3 setup'." if is_told is False else "By EventBridge or a topic, as far as can be told."
    advice = "" if is_told else advice
    return CheckResult("the bucket tells the queue", is_right=is_told, advice=advice)


def check_call(what: str, call: Callable[[], object], *answers: str) -> CheckResult:
    """Make the call: an answer, or one of the refusals that only those hear who may ask, shows that it is allowed."""
    try:
        with translate_errors(what):
            call()
    except PawtagError as error:
        cause = error.__cause__
        if not (isinstance(cause, ClientError) and error_code(cause) in answers):
            return CheckResult(what, is_right=False, advice=str(error).removeprefix(f"{what}: "))
    return CheckResult(what)


def read_queue_arn(sqs: Any, url: str) -> str | None:
    """The queue's ARN; None where it may not be asked for."""
    try:
        with translate_errors(url):
            return str(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])
    except PawtagError:
        return None


def _read(s3: Any, ref: PhotoRef) -> dict[str, str]:
    """Read a byte of it; what names its version in a versioned bucket."""
    found = s3.get_object(**object_params(ref.uri), Range="bytes=0-0")
    found["Body"].close()
    version_id = found.get("VersionId")
    return {"VersionId": version_id} if version_id not in (None, "null") else {}


def _explain_tagging(finding: CheckResult) -> CheckResult:
    if finding.is_right or not any(code in finding.advice for code in TAGGING_NOT_IMPLEMENTED):
        return finding
    return CheckResult(finding.what, is_right=False, advice="This store has no object tags: set s3.output = 'sidecar'.")


def _check_region(s3: Any, bucket: str) -> Iterator[CheckResult]:
    try:
        with translate_errors(f"The bucket {bucket}"):
            lies = s3.head_bucket(Bucket=bucket).get("BucketRegion")
    except PawtagError as error:
        yield CheckResult("reach the bucket", is_right=False, advice=str(error))
        return
    if lies and lies != s3.region:
        advice = f"It lies in {lies}, and requests go to {s3.region}: set s3.region, or pay for the way between."
        yield CheckResult("the bucket's region", is_right=False, advice=advice)


def _check_other_writers(tagging: ObjectTags, sample: tuple[PhotoRef, ...]) -> Iterator[CheckResult]:
    """Look twice at others' tags: who changes them at the same time as pawtag may lose some."""
    try:
        before = [_foreign_tags(tagging.read(ref)) for ref in sample]
        if not any(before):
            return
        time.sleep(SECOND_LOOK_DELAY_S)
        after = [_foreign_tags(tagging.read(ref)) for ref in sample]
    except PawtagError:
        return  # said above
    advice = "S3 knows no condition for tags: set s3.output = 'sidecar', or one may lose the other's."
    yield CheckResult("nobody else changes tags", is_right=before == after, advice="" if before == after else advice)


def _foreign_tags(tags: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in tags.items() if not is_ours(name)}
