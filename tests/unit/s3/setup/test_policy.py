"""Policies: who may send to the queue, and what the daemon may do."""

import json

import pytest

from pawtag.s3.setup.policy import PhotoLocations, build_daemon_policy, build_sender_statement
from support.paths import ROOT


@pytest.mark.parametrize("rule_arn", [None, "arn:aws:events:eu-central-1:123456789012:rule/pets"])
def test_a_queue_accepts_messages_of_its_own_account_alone(rule_arn):
    """Of the bucket, whose ARN names no account, or of EventBridge's rule, whose ARN does."""
    statement = build_sender_statement("pets", "pets", "arn:aws:sqs:eu-central-1:123456789012:pawtag-pets", rule_arn)
    assert "123456789012" in json.dumps(statement["Condition"])
    assert (rule_arn or "arn:aws:s3:::pets") == statement["Condition"]["ArnEquals"]["aws:SourceArn"]


def test_the_policy_in_config_is_the_minimum():
    """config/s3-policy.json is what `pawtag s3 setup` prints: it may overwrite no photo."""
    shown = json.loads((ROOT / "config/s3-policy.json").read_text())
    assert shown == build_daemon_policy(PhotoLocations("pets"), "arn:aws:sqs:eu-central-1:123456789012:pawtag-pets")
    (writes,) = [one for one in shown["Statement"] if "s3:PutObject" in one["Action"]]
    assert writes["Resource"].endswith(".json")
