"""What IAM is to allow: pawtag to its bucket and queue, the bucket to its queue. Pure."""

import hashlib
from typing import Any

VERSION = "2012-10-17"
Document = dict[str, Any]


def daemon_policy(bucket: str, prefix: str, queue_arn: str, *, partition: str = "aws") -> Document:
    """The least that a daemon needs. PutObject for records alone: a photo cannot be overwritten."""
    name = f"arn:{partition}:s3:::{bucket}"
    photos = f"{name}/{prefix}*"
    tagging = ["s3:GetObjectTagging", "s3:PutObjectTagging", "s3:GetObjectVersionTagging", "s3:PutObjectVersionTagging"]
    queue = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"]
    return {
        "Version": VERSION,
        "Statement": [
            {"Sid": "Photos", "Effect": "Allow", "Action": ["s3:GetObject", *tagging], "Resource": photos},
            {"Sid": "Records", "Effect": "Allow", "Action": "s3:PutObject", "Resource": f"{photos}.json"},
            {"Sid": "Listing", "Effect": "Allow", "Action": "s3:ListBucket", "Resource": name},
            {"Sid": "Queue", "Effect": "Allow", "Action": queue, "Resource": queue_arn},
        ],
    }


def sender_statement(bucket: str, queue_arn: str, rule_arn: str | None) -> Document:
    """What lets the bucket, or the EventBridge rule, send to the queue: that one, of that account alone."""
    partition, account = queue_arn.split(":")[1], queue_arn.split(":")[4]
    source = rule_arn or f"arn:{partition}:s3:::{bucket}"
    return {
        "Sid": statement_id(bucket),
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com" if rule_arn else "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": source}, "StringEquals": {"aws:SourceAccount": account}},
    }


def with_statement(policy: Document | None, statement: Document) -> Document:
    """The policy with that statement, in the place of an older one of ours."""
    document = without_statement(policy, statement["Sid"]) or {"Version": VERSION, "Statement": []}
    return document | {"Statement": [*document["Statement"], statement]}


def without_statement(policy: Document | None, sid: str) -> Document | None:
    """The policy without that statement; None where nothing else is left."""
    statements = policy.get("Statement", []) if policy else []
    others = [one for one in ([statements] if isinstance(statements, dict) else statements) if one.get("Sid") != sid]
    return {**(policy or {}), "Statement": others} if others else None


def statement_id(bucket: str) -> str:
    """Our statement's name in the queue's policy."""
    return "pawtag" + hashlib.sha256(bucket.encode()).hexdigest()[:12]
