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
from pawtag.s3.address import place
from pawtag.s3.client import ARCHIVED, MISSING, code_of, explained
from pawtag.s3.listing import Listing
from pawtag.s3.object_sidecars import LOST_RACE
from pawtag.s3.object_tags import NO_TAGGING, Tagging
from pawtag.s3.setup.notification import Notification
from pawtag.s3.tag_encoding import is_ours

ABSENT = ".pawtag-check-of-permissions"
NO_BYTES = ("InvalidRange", ARCHIVED, "InvalidRequest")  # empty, asleep, or under a customer's own key
ABSENCES = ("NoSuchKey", "NoSuchVersion")
NOBODYS_RECEIPT = "pawtag"
NOBODYS = ("ReceiptHandleIsInvalid", "InvalidParameterValue", "AWS.SimpleQueueService.MessageNotInflight")
SAMPLE, LOOK_AGAIN_S = 20, 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: right, wrong (then `advice` says what to do), or None: it cannot be told."""

    what: str
    is_right: bool | None = True
    advice: str = ""


def of_bucket(s3: Any, settings: S3Settings, listing: Listing) -> Iterator[Finding]:
    """What a daemon does with the objects of a bucket below a prefix."""
    bucket, prefix = listing.bucket, listing.prefix
    yield from _region(s3, bucket)
    try:
        page = next(listing.pages(), None)
    except PawtagError as error:
        page = None
        # Without it S3 calls forbidden what is not there: no record would be written, and no deletion noticed.
        yield Finding("list the bucket", is_right=False, advice=str(error))
    else:
        yield Finding("list the bucket")
    sample = page.photos[:SAMPLE] if page else ()
    of_version: dict[str, str] = {}  # what a versioned bucket wants other permissions for
    if sample:
        yield proved("read a photo", lambda: of_version.update(_read(s3, sample[0])), *MISSING, *NO_BYTES)
        yield proved("read its tags", lambda: s3.get_object_tagging(**place(sample[0].uri), **of_version), *MISSING)
    else:
        yield Finding("read a photo", is_right=None, advice="There is none to try with: upload one, and check again.")
    if settings.write != "sidecar":
        tag_set = {"TagSet": [{"Key": "pawtag:by", "Value": "check"}]}
        absent = {"Bucket": bucket, "Key": prefix + ABSENT, **of_version}
        yield _tagging(proved("write tags", lambda: s3.put_object_tagging(**absent, Tagging=tag_set), *ABSENCES))
    beside = {"Bucket": settings.sidecar_bucket or bucket, "Key": f"{settings.sidecar_prefix}{prefix}{ABSENT}.json"}
    write = lambda: s3.put_object(**beside, Body=b"", IfMatch='"0"')  # noqa: E731 - nothing has that ETag
    yield proved("write a record beside a photo", write, *MISSING, *LOST_RACE)
    yield from _comings_and_goings(Tagging(s3), sample)


def of_queue(sqs: Any, url: str) -> Iterator[Finding]:
    """What a daemon does with its queue, and how the queue is."""
    yield proved("receive messages", lambda: sqs.receive_message(QueueUrl=url, VisibilityTimeout=0))
    hide = {"QueueUrl": url, "ReceiptHandle": NOBODYS_RECEIPT, "VisibilityTimeout": 0}
    yield proved("keep messages hidden", lambda: sqs.change_message_visibility(**hide), *NOBODYS)
    entries = [{"Id": "0", "ReceiptHandle": NOBODYS_RECEIPT}]
    yield proved("delete messages", lambda: sqs.delete_message_batch(QueueUrl=url, Entries=entries), *NOBODYS)
    try:
        with explained(url):
            found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    except PawtagError as error:
        yield Finding("ask how the queue is", is_right=False, advice=str(error))
        return
    waiting, hidden = (found.get(f"ApproximateNumberOfMessages{part}", "?") for part in ("", "NotVisible"))
    yield Finding(f"{waiting} messages wait, {hidden} are in hand")
    if "RedrivePolicy" not in found:
        advice = "It has no dead-letter queue: such messages go to the daemon's own dead letters."
        yield Finding("the queue puts away what fails for ever", is_right=None, advice=advice)


def of_notification(s3: Any, uri: tuple[str, str], queue_arn: str) -> Finding:
    """Whether the bucket tells the queue of uploads below the prefix, as far as may be asked."""
    try:
        is_told = Notification(s3, uri[0]).holds(queue_arn, uri[1])
    except PawtagError as error:
        return Finding("ask whom the bucket tells", is_right=None, advice=f"{error} Only setup and this check need it.")
    advice = "Run 'pawtag s3 setup'." if is_told is False else "By EventBridge or a topic, as far as can be told."
    advice = "" if is_told else advice
    return Finding("the bucket tells the queue", is_right=is_told, advice=advice)


def proved(what: str, call: Callable[[], object], *answers: str) -> Finding:
    """Make the call: an answer, or one of the refusals that only those hear who may ask, shows that it is allowed."""
    try:
        with explained(what):
            call()
    except PawtagError as error:
        cause = error.__cause__
        if not (isinstance(cause, ClientError) and code_of(cause) in answers):
            return Finding(what, is_right=False, advice=str(error).removeprefix(f"{what}: "))
    return Finding(what)


def arn_of(sqs: Any, url: str) -> str | None:
    """The queue's ARN; None where it may not be asked for."""
    try:
        with explained(url):
            return str(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])
    except PawtagError:
        return None


def _read(s3: Any, ref: PhotoRef) -> dict[str, str]:
    """Read a byte of it; what names its version in a versioned bucket."""
    found = s3.get_object(**place(ref.uri), Range="bytes=0-0")
    found["Body"].close()
    version_id = found.get("VersionId")
    return {"VersionId": version_id} if version_id not in (None, "null") else {}


def _tagging(finding: Finding) -> Finding:
    if finding.is_right or not any(code in finding.advice for code in NO_TAGGING):
        return finding
    return Finding(finding.what, is_right=False, advice="This store has no object tags: set s3.write = 'sidecar'.")


def _region(s3: Any, bucket: str) -> Iterator[Finding]:
    try:
        with explained(f"The bucket {bucket}"):
            lies = s3.head_bucket(Bucket=bucket).get("BucketRegion")
    except PawtagError as error:
        yield Finding("reach the bucket", is_right=False, advice=str(error))
        return
    if lies and lies != s3.region:
        advice = f"It lies in {lies}, and requests go to {s3.region}: set s3.region, or pay for the way between."
        yield Finding("the bucket's region", is_right=False, advice=advice)


def _comings_and_goings(tagging: Tagging, sample: tuple[PhotoRef, ...]) -> Iterator[Finding]:
    """Look twice at others' tags: who changes them at the same time as pawtag may lose some."""
    try:
        before = [_of_others(tagging.of(ref)) for ref in sample]
        if not any(before):
            return
        time.sleep(LOOK_AGAIN_S)
        after = [_of_others(tagging.of(ref)) for ref in sample]
    except PawtagError:
        return  # said above
    advice = "S3 knows no condition for tags: set s3.write = 'sidecar', or one may lose the other's."
    yield Finding("nobody else changes tags", is_right=before == after, advice="" if before == after else advice)


def _of_others(tags: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in tags.items() if not is_ours(name)}
