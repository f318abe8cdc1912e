"""IAM policies: what pawtag may do with its bucket and its queue, and what the bucket may do with the queue. Pure."""

from dataclasses import dataclass
from typing import Any

VERSION = "2012-10-17"
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PhotoLocations:
    """Where photos and their records lie."""

    bucket: str
    prefix: str = ""
    records_bucket: str | None = None
    records_prefix: str = ""


def build_daemon_policy(places: PhotoLocations, queue_arn: str) -> Document:
    """The smallest policy for a daemon. PutObject is allowed only for records, so no photo can be overwritten."""
    start = f"arn:{queue_arn.split(':')[1]}:s3:::"
    buckets = dict.fromkeys((places.bucket, places.records_bucket or places.bucket))
    photos = f"{start}{places.bucket}/{places.prefix}*"
    records = f"{start}{places.records_bucket or places.bucket}/{places.records_prefix}{places.prefix}*.json"
    listed = [f"{start}{bucket}" for bucket in buckets]
    tagging = ["s3:GetObjectTagging", "s3:PutObjectTagging", "s3:GetObjectVersionTagging", "s3:PutObjectVersionTagging"]
    queue = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"]
    return {
        "Version": VERSION,
        "Statement": [
            {"Sid": "Photos", "Effect": "Allow", "Action": ["s3:GetObject", *tagging], "Resource": photos},
            {"Sid": "Records", "Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": records},
            {"Sid": "Listing", "Effect": "Allow", "Action": "s3:ListBucket", "Resource": listed},
            {"Sid": "Queue", "Effect": "Allow", "Action": queue, "Resource": queue_arn},
        ],
    }


def build_sender_statement(name: str, bucket: str, queue_arn: str, rule_arn: str | None) -> Document:
    """The statement that lets only this bucket of this account, or only this EventBridge rule, send to the queue.

    A rule's ARN names its account; a bucket's does not.
    """
    partition, account = queue_arn.split(":")[1], queue_arn.split(":")[4]
    of_account = {"StringEquals": {"aws:SourceAccount": account}}
    source = rule_arn or f"arn:{partition}:s3:::{bucket}"
    return {
        "Sid": name,
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com" if rule_arn else "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": source}} | ({} if rule_arn else of_account),
    }


def add_statement(policy: Document | None, statement: Document) -> Document:
    """The policy with that statement, in the place of an older one of ours."""
    document = remove_statement(policy, statement["Sid"]) or {"Version": VERSION, "Statement": []}
    return document | {"Statement": [*document["Statement"], statement]}


def remove_statement(policy: Document | None, sid: str) -> Document | None:
    """The policy without that statement; None where nothing else is left."""
    statements = policy.get("Statement", []) if policy else []
    others = [one for one in ([statements] if isinstance(statements, dict) else statements) if one.get("Sid") != sid]
    return {**(policy or {}), "Statement": others} if others else None
