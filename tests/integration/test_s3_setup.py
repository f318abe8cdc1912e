"""Setup of a bucket, its check, and its removal."""

import asyncio
import itertools
import json
from types import SimpleNamespace

import boto3
import pytest

from pawtag.__main__ import main
from pawtag.s3.tuning import S3Tuning
from support.buckets import BUCKET, REGION, count_messages, put, scan, sidecar, tags
from support.fault_proxy import Answer, FaultProxy, is_read, is_tagging, once
from support.pictures import RED, plain


def events_of(store):
    return boto3.client("events", endpoint_url=store.address, region_name=REGION)


def attributes(store, url: str) -> dict[str, str]:
    return store.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]


def rules(store) -> list[str]:
    found = store.s3.get_bucket_notification_configuration(Bucket=BUCKET)
    return [rule["Id"] for rule in found.get("QueueConfigurations", [])]


@pytest.mark.parametrize("via", ["s3", "eventbridge"])
def test_setup_can_be_repeated_and_removed(cli_store, capsys, via):
    """Rules of others stay; messages come through."""
    store = cli_store
    other = {"Id": "other", "QueueArn": "arn:aws:sqs:us-east-1:123456789012:pawtag", "Events": ["s3:ObjectRemoved:*"]}
    store.s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [other]}
    )
    arguments = ["s3", "setup", f"s3://{BUCKET}", "--queue", "fresh", "--via", via]
    assert main([*arguments, "--dry-run"]) == 0
    assert "would create the queue fresh-dead" in capsys.readouterr().out
    assert "QueueUrls" not in store.sqs.list_queues(QueueNamePrefix="fresh")
    assert main(arguments) == main(arguments) == 0
    assert [name[:11] for name in rules(store)] == ["other"] + (["pawtag-pets"] if via == "s3" else [])
    url = store.sqs.get_queue_url(QueueName="fresh")["QueueUrl"]
    put(store, "a.png", plain(RED))
    fresh = SimpleNamespace(sqs=store.sqs, url=url)
    assert count_messages(fresh) >= 1
    policy = store.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"]
    assert len(json.loads(policy)["Statement"]) == 1
    assert main([*arguments[:5], "--remove"]) == 0  # however it was made
    assert rules(store) == ["other"]
    assert "QueueUrls" not in store.sqs.list_queues(QueueNamePrefix="fresh")
    assert events_of(store).list_rules()["Rules"] == []


def test_setup_can_change_the_transport(cli_store, capsys):
    """From S3's own notification to EventBridge's and back: in the end one way leads to the queue; both are allowed."""
    store = cli_store
    store.s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={})
    arguments = ["s3", "setup", f"s3://{BUCKET}", "--queue", "fresh"]
    for via, service in (("s3", "s3"), ("eventbridge", "events"), ("s3", "s3")):
        assert main([*arguments, "--via", via]) == 0
        url = store.sqs.get_queue_url(QueueName="fresh")["QueueUrl"]
        allowed = [one["Principal"]["Service"] for one in json.loads(attributes(store, url)["Policy"])["Statement"]]
        assert allowed[-1] == f"{service}.amazonaws.com"
        ways = [*rules(store), *(one["Name"] for one in events_of(store).list_rules()["Rules"])]
        assert len(ways) == 1
        assert capsys.readouterr().out.count("finds what is uploaded meanwhile") == (len(allowed) > 1)
    assert main([*arguments, "--remove"]) == 0
    assert "QueueUrls" not in store.sqs.list_queues(QueueNamePrefix="fresh")


REFUSED = b"""<Error><Code>InvalidArgument</Code>
<Message>Unable to validate the following destination configurations</Message></Error>"""


def is_notification(asked) -> bool:
    return asked.method == "PUT" and "notification" in asked.query


@pytest.mark.parametrize(
    ("matches", "answer"),
    [
        (is_notification, Answer(400, body=REFUSED)),
        (lambda asked: asked.operation == "CreateQueue", Answer(400, "AWS.SimpleQueueService.QueueDeletedRecently")),
        (lambda asked: asked.operation == "GetQueueAttributes", Answer(400, "QueueDoesNotExist")),
    ],
    ids=["policy", "deleted", "made"],
)
def test_setup_waits_until_its_changes_are_visible(cli_store, monkeypatch, capsys, matches, answer):
    """AWS takes up to a minute over a queue's policy, and over the name of a queue that was deleted."""
    cli_store.s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={})
    with FaultProxy(cli_store.address, once(matches, answer, 3)) as proxy:
        monkeypatch.setenv("PAWTAG_S3__ENDPOINT_URL", proxy.address)
        assert main(["s3", "setup", f"s3://{BUCKET}"], s3_tuning=S3Tuning(settle_interval_s=0.1)) == 0
    assert "it takes up to" in capsys.readouterr().out
    assert len(rules(cli_store)) == 1


def test_setup_names_what_may_prevent_notifications(cli_store, monkeypatch, capsys):
    """Where it stays refused."""
    cli_store.s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={})
    with FaultProxy(cli_store.address, once(is_notification, Answer(400, body=REFUSED), 99)) as proxy:
        monkeypatch.setenv("PAWTAG_S3__ENDPOINT_URL", proxy.address)
        assert main(["s3", "setup", f"s3://{BUCKET}"], s3_tuning=S3Tuning(settle_interval_s=0.01)) == 2
    assert "encrypted by a key" in capsys.readouterr().err


def test_setup_prints_the_next_command_with_the_prefix(cli_store, capsys):
    """The policy and the lines speak of the same place."""
    store = cli_store
    store.s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={})
    assert main(["s3", "setup", f"s3://{BUCKET}/my cats/"]) == 0
    said = capsys.readouterr().out
    assert "export PAWTAG_S3__PREFIX='my cats/'" in said
    assert "arn:aws:s3:::pets/my cats/*" in said
    redrive = json.loads(
        attributes(store, store.sqs.get_queue_url(QueueName="pawtag-pets")["QueueUrl"])["RedrivePolicy"]
    )
    assert redrive["deadLetterTargetArn"].endswith(":pawtag-pets-dead")


def test_a_queue_that_s3_cannot_notify_is_refused(cli_store, capsys):
    """A FIFO one."""
    assert main(["s3", "setup", f"s3://{BUCKET}", "--queue", "pets.fifo"]) == 2
    assert "FIFO" in capsys.readouterr().err


def test_the_setup_of_a_deleted_bucket_can_be_removed(cli_store):
    """Queue and dead letters."""
    store = cli_store
    store.s3.create_bucket(Bucket="short-lived")
    assert main(["s3", "setup", "s3://short-lived"]) == 0
    store.s3.delete_bucket(Bucket="short-lived")
    assert main(["s3", "setup", "s3://short-lived", "--remove"]) == 0
    assert "QueueUrls" not in store.sqs.list_queues(QueueNamePrefix="pawtag-short-lived")


def test_setup_names_an_overlap_of_restored_photos_too(cli_store, capsys):
    """S3 refuses a second rule for any event."""
    other = {"Id": "restores", "QueueArn": f"arn:aws:sqs:{REGION}:123456789012:x", "Events": ["s3:ObjectRestore:*"]}
    notification = {"QueueConfigurations": [other]}
    cli_store.s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=notification)
    assert main(["s3", "setup", f"s3://{BUCKET}"]) == 2
    assert "'restores'" in capsys.readouterr().err


def test_two_setups_of_a_bucket_do_not_affect_each_other(cli_store):
    """One queue for both, or one each: what one takes back, the other keeps."""
    store = cli_store
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


def test_an_existing_queue_keeps_its_settings(cli_store):
    """Its policy, and no dead letters of ours."""
    store = cli_store
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


def test_setup_names_the_overlapping_rule(cli_store, capsys):
    """And offers the way around it."""
    assert main(["s3", "setup", f"s3://{BUCKET}"]) == 2
    said = capsys.readouterr().err
    assert rules(cli_store)[0] in said
    assert "--via eventbridge" in said


def test_check_tests_each_permission_and_changes_nothing(cli_store, monkeypatch, capsys):
    """Exit code 0, and no object more."""
    put(cli_store, "a.png", plain(RED), album="summer")
    monkeypatch.setenv("PAWTAG_S3__QUEUE_URL", cli_store.url)
    tuning = S3Tuning(second_look_delay_s=0.1)
    assert main(["s3", "check", f"s3://{BUCKET}"], s3_tuning=tuning) == 0
    said = capsys.readouterr().out
    assert said.count("ok ") >= 9
    assert [one["Key"] for one in cli_store.s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["a.png"]
    assert tags(cli_store, "a.png") == {"album": "summer"}


CODES = ["AccessDenied", "ExpiredToken", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "KMS.DisabledException"]


@pytest.mark.parametrize("code", [*CODES, "AuthorizationHeaderMalformed", "SomethingOfTomorrow"])
def test_S12_check_treats_no_refusal_as_a_permission(cli_store, monkeypatch, capsys, code):
    """Whatever the reason: nothing that was refused is called ok."""
    put(cli_store, "a.png", plain(RED))
    monkeypatch.setenv("PAWTAG_S3__QUEUE_URL", cli_store.url)
    listing = lambda asked: asked.method == "GET" and "list-type" in asked.query  # noqa: E731
    refused = lambda asked: None if listing(asked) else Answer(403, code)  # noqa: E731
    with FaultProxy(cli_store.address, refused) as proxy:
        monkeypatch.setenv("PAWTAG_S3__ENDPOINT_URL", proxy.address)
        assert main(["s3", "check", f"s3://{BUCKET}"]) == 1
    assert capsys.readouterr().out.count("ok ") == 1  # the listing


@pytest.mark.parametrize(
    ("matches", "named"),
    [
        (is_read, "s3:GetObject, and kms:Decrypt"),
        (lambda asked: asked.operation == "ReceiveMessage", "sqs:ReceiveMessage"),
        (lambda asked: asked.operation == "GetQueueAttributes", "sqs:GetQueueAttributes"),
        (is_tagging, "s3:PutObjectTagging"),
        (lambda asked: asked.method == "PUT" and asked.path.endswith(".json"), "s3:PutObject, and kms:GenerateDataKey"),
    ],
)
def test_S12_check_names_the_permission_that_is_missing(cli_store, monkeypatch, capsys, matches, named):
    """One line says what to grant."""
    put(cli_store, "a.png", plain(RED))
    monkeypatch.setenv("PAWTAG_S3__QUEUE_URL", cli_store.url)
    with FaultProxy(cli_store.address, lambda asked: Answer(403, "AccessDenied") if matches(asked) else None) as proxy:
        monkeypatch.setenv("PAWTAG_S3__ENDPOINT_URL", proxy.address)
        assert main(["s3", "check", f"s3://{BUCKET}"]) == 1
    wrong = [line for line in capsys.readouterr().out.splitlines() if "WRONG" in line]
    assert len(wrong) == 1
    assert f"grant {named}" in wrong[0]


def test_check_of_a_missing_queue_still_checks_the_bucket(cli_store, monkeypatch, capsys):
    """And names it."""
    monkeypatch.setenv("PAWTAG_S3__QUEUE_URL", cli_store.url + "-absent")
    assert main(["s3", "check", f"s3://{BUCKET}"]) == 1
    said = capsys.readouterr().out
    assert "WRONG receive messages: no such bucket or queue" in said
    assert "ok    list the bucket" in said


def test_check_warns_of_a_bucket_in_another_region(cli_store, monkeypatch, capsys):
    """Each request would cross regions."""
    location = {"LocationConstraint": "eu-west-1"}
    cli_store.s3.create_bucket(Bucket="afar", CreateBucketConfiguration=location)
    assert main(["s3", "check", "s3://afar"]) == 1
    assert "It is in eu-west-1" in capsys.readouterr().out


def test_check_warns_of_tags_that_are_not_kept(cli_store, monkeypatch, capsys):
    """Another program writes new ones before each look: of two writers one may lose its change."""
    put(cli_store, "a.png", plain(RED), scan="0")
    looks = itertools.count(1)

    def write_tags(asked):
        if asked.method == "GET" and asked.tagging:
            tag_set = {"TagSet": [{"Key": "scan", "Value": str(next(looks))}]}
            cli_store.s3.put_object_tagging(Bucket=BUCKET, Key="a.png", Tagging=tag_set)

    with FaultProxy(cli_store.address, write_tags) as proxy:
        monkeypatch.setenv("PAWTAG_S3__ENDPOINT_URL", proxy.address)
        tuning = S3Tuning(second_look_delay_s=0.01)
        assert main(["s3", "check", f"s3://{BUCKET}"], s3_tuning=tuning) == 1
    assert "s3.output = 'sidecar'" in capsys.readouterr().out


def test_check_does_not_guess_where_a_topic_delivers(cli_store, monkeypatch, capsys):
    """An SNS topic, or EventBridge, between bucket and queue is no fault."""
    topic = {"Id": "t", "TopicArn": f"arn:aws:sns:{REGION}:123456789012:t", "Events": ["s3:ObjectCreated:*"]}
    notification = {"TopicConfigurations": [topic]}
    cli_store.s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=notification)
    monkeypatch.setenv("PAWTAG_S3__QUEUE_URL", cli_store.url)
    assert main(["s3", "check", f"s3://{BUCKET}"]) == 0
    assert "?     the bucket notifies the queue" in capsys.readouterr().out


def test_clean_removes_exactly_what_pawtag_wrote(cli_store, tmp_path, capsys):
    """Tags and records; others' tags and objects stay, and records that a person has corrected."""
    store = cli_store
    put(store, "a.png", plain(RED), album="summer")
    put(store, "b.png", plain(RED))
    put(store, "b.png.json", b'{"title": "Takeout"}')
    asyncio.run(scan(store, tmp_path))
    corrected = {"schema": "pawtag.record/1", "corrected": {"species": ["dog"]}}
    put(store, "c.png.json", json.dumps(corrected).encode())
    put(store, "d.png.json", b'{"schema": "pawtag.record/1"}')
    put(store, "e.png", plain(RED), **{"pawtag:species": "dog", "pawtag:corrected": "species"})
    assert main(["clean", f"s3://{BUCKET}", "--dry-run"]) == 0
    assert "pawtag:fingerprint" in tags(store, "a.png")
    assert main(["clean", f"s3://{BUCKET}"]) == 0
    assert tags(store, "a.png") == {"album": "summer"}
    assert tags(store, "b.png") == {}
    keys = [one["Key"] for one in store.s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert keys == ["a.png", "b.png", "b.png.json", "c.png.json", "e.png"]
    assert tags(store, "e.png")["pawtag:corrected"] == "species"
    assert sidecar(store, "b.png") == {"title": "Takeout"}


def test_clean_leaves_the_records_of_another_bucket(cli_store, monkeypatch):
    """They lie in the same bucket for records."""
    store = cli_store
    store.s3.create_bucket(Bucket="records")
    for name, bucket in (("a", BUCKET), ("b", BUCKET + "2")):
        record = {"schema": "pawtag.record/1", "source": {"kind": "s3", "uri": f"s3://{bucket}/{name}.png"}}
        store.s3.put_object(Bucket="records", Key=f"{name}.png.json", Body=json.dumps(record).encode())
    monkeypatch.setenv("PAWTAG_S3__SIDECAR_BUCKET", "records")
    assert main(["clean", f"s3://{BUCKET}"]) == 0
    assert [one["Key"] for one in store.s3.list_objects_v2(Bucket="records")["Contents"]] == ["b.png.json"]


def test_check_accepts_an_empty_first_photo(cli_store):
    """It has no byte to read."""
    put(cli_store, "a.png", b"")
    assert main(["s3", "check", f"s3://{BUCKET}"]) == 0


def test_check_distinguishes_a_rule_of_another_prefix(cli_store, monkeypatch, capsys):
    """It does not notify the queue of these."""
    store = cli_store
    notification = {"QueueConfigurations": [{"QueueArn": ARN, "Events": ["s3:ObjectCreated:*"], "Filter": DOGS}]}
    store.s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=notification)
    monkeypatch.setenv("PAWTAG_S3__QUEUE_URL", store.url)
    assert main(["s3", "check", f"s3://{BUCKET}/dogs/"]) == 0
    assert main(["s3", "check", f"s3://{BUCKET}"]) == 1
    assert "WRONG the bucket notifies the queue: Run 'pawtag s3 setup'" in capsys.readouterr().out


ARN = f"arn:aws:sqs:{REGION}:123456789012:pawtag"
DOGS = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "dogs/"}]}}
