"""Setting a bucket up, proving what is allowed there, and taking it all back."""

import asyncio
import json
from types import SimpleNamespace

import boto3
import pytest

from buckets import BUCKET, REGION, address, put, scan, sidecar, store, surroundings, tags, waiting  # noqa: F401
from faultproxy import Answer, FaultProxy
from pawtag.__main__ import main
from pictures import RED, plain


def events_of(store):
    return boto3.client("events", endpoint_url=store.address, region_name=REGION)


def attributes(store, url: str) -> dict[str, str]:
    return store.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]


def rules(store) -> list[str]:
    found = store.s3.get_bucket_notification_configuration(Bucket=BUCKET)
    return [rule["Id"] for rule in found.get("QueueConfigurations", [])]


@pytest.mark.parametrize("via", ["s3", "eventbridge"])
def test_setup_can_be_run_again_and_taken_back(surroundings, capsys, via):
    """Rules of others stay; messages come through."""
    store = surroundings
    other = {"Id": "other", "QueueArn": "arn:aws:sqs:us-east-1:123456789012:pawtag", "Events": ["s3:ObjectRemoved:*"]}
    store.s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [other]}
    )
    arguments = ["s3", "setup", f"s3://{BUCKET}", "--queue", "fresh", "--via", via]
    assert main([*arguments, "--dry-run"]) == 0
    assert "QueueUrls" not in store.sqs.list_queues(QueueNamePrefix="fresh")
    assert main(arguments) == main(arguments) == 0
    assert [name[:11] for name in rules(store)] == ["other"] + (["pawtag-pets"] if via == "s3" else [])
    url = store.sqs.get_queue_url(QueueName="fresh")["QueueUrl"]
    put(store, "a.png", plain(RED))
    fresh = SimpleNamespace(sqs=store.sqs, url=url)
    assert waiting(fresh) >= 1
    policy = store.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"]
    assert len(json.loads(policy)["Statement"]) == 1
    assert main([*arguments[:5], "--remove"]) == 0  # however it was made
    assert rules(store) == ["other"]
    assert "QueueUrls" not in store.sqs.list_queues(QueueNamePrefix="fresh")
    assert events_of(store).list_rules()["Rules"] == []


def test_two_set_ups_of_a_bucket_leave_each_other_alone(surroundings):
    """One queue for both, or one each: what one takes back, the other keeps."""
    store = surroundings
    store.s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={})
    cats, dogs = (["s3", "setup", f"s3://{BUCKET}/{name}/", "--queue", "fresh"] for name in ("cats", "dogs"))
    assert main(cats) == main(dogs) == 0
    assert len(rules(store)) == 2
    assert main([*cats, "--remove"]) == 0
    url = store.sqs.get_queue_url(QueueName="fresh")["QueueUrl"]
    policy = store.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"]
    assert [one["Sid"] for one in json.loads(policy)["Statement"]] == rules(store)
    assert main([*dogs, "--remove"]) == 0
    assert rules(store) == []
    assert "QueueUrls" not in store.sqs.list_queues(QueueNamePrefix="fresh")


def test_a_queue_that_was_there_keeps_what_is_its_own(surroundings):
    """Its policy, and no dead letters of ours."""
    store = surroundings
    store.s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={})
    url = store.sqs.create_queue(QueueName="mine")["QueueUrl"]
    arguments = ["s3", "setup", f"s3://{BUCKET}", "--queue", "mine"]
    assert main(arguments) == 0
    own = {"Sid": "mine", "Effect": "Allow", "Principal": "*", "Action": "*"}
    policy = json.loads(attributes(store, url)["Policy"])
    together = json.dumps(policy | {"Statement": [*policy["Statement"], own]})  # moto forgets what was there before
    store.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": together})
    assert main([*arguments, "--remove"]) == 0
    found = attributes(store, url)
    assert json.loads(found["Policy"])["Statement"] == [own]
    assert not found.get("RedrivePolicy")
    assert len(store.sqs.list_queues(QueueNamePrefix="mine")["QueueUrls"]) == 1


def test_setup_names_the_rule_that_is_in_the_way(surroundings, capsys):
    """And offers the way around it."""
    assert main(["s3", "setup", f"s3://{BUCKET}"]) == 2
    said = capsys.readouterr().err
    assert rules(surroundings)[0] in said
    assert "--via eventbridge" in said


def test_check_proves_each_permission_and_changes_nothing(surroundings, monkeypatch, capsys):
    """Exit code 0, and no object more."""
    monkeypatch.setattr("pawtag.s3.proofs.LOOK_AGAIN_S", 0.1)
    put(surroundings, "a.png", plain(RED), album="summer")
    monkeypatch.setenv("PAWTAG_S3__QUEUE_URL", surroundings.url)
    assert main(["s3", "check", f"s3://{BUCKET}"]) == 0
    said = capsys.readouterr().out
    assert said.count("ok ") >= 9
    assert [one["Key"] for one in surroundings.s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["a.png"]
    assert tags(surroundings, "a.png") == {"album": "summer"}


@pytest.mark.parametrize("code", ["AccessDenied", "ExpiredToken", "SignatureDoesNotMatch", "RequestTimeTooSkewed"])
def test_check_takes_no_refusal_for_a_permission(surroundings, monkeypatch, capsys, code):
    """Whatever the reason: nothing that was refused is called ok."""
    with FaultProxy(surroundings.address, lambda _: Answer(403, code)) as proxy:
        monkeypatch.setenv("PAWTAG_S3__ENDPOINT_URL", proxy.address)
        assert main(["s3", "check", f"s3://{BUCKET}"]) == 1
    assert "ok " not in capsys.readouterr().out


def test_clean_takes_back_exactly_what_is_ours(surroundings, tmp_path, capsys):
    """Tags and records; others' tags and objects stay, and records that a person has corrected."""
    store = surroundings
    put(store, "a.png", plain(RED), album="summer")
    put(store, "b.png", plain(RED))
    put(store, "b.png.json", b'{"title": "Takeout"}')
    asyncio.run(scan(store, tmp_path))
    corrected = {"schema": "pawtag.record/1", "corrected": {"species": ["dog"]}}
    put(store, "c.png.json", json.dumps(corrected).encode())
    put(store, "d.png.json", b'{"schema": "pawtag.record/1"}')
    assert main(["clean", f"s3://{BUCKET}", "--dry-run"]) == 0
    assert "pawtag:by" in tags(store, "a.png")
    assert main(["clean", f"s3://{BUCKET}"]) == 0
    assert tags(store, "a.png") == {"album": "summer"}
    assert tags(store, "b.png") == {}
    keys = [one["Key"] for one in store.s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert keys == ["a.png", "b.png", "b.png.json", "c.png.json"]
    assert sidecar(store, "b.png") == {"title": "Takeout"}
