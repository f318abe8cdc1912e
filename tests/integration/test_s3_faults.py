"""Faults of a store and a queue, each by a proxy in front of moto's server."""

import asyncio
import json
from dataclasses import replace
from functools import partial

import pytest

from pawtag.state.dead_letters import DeadLetters
from support import buckets
from support.buckets import BUCKET, SHORT_WAITS, behind, count_messages, event, put, sidecar, tags, until
from support.doubles import SlowEngine
from support.fault_proxy import Answer, FaultProxy, is_read, is_tagging, once
from support.pictures import GREEN, RED, plain

run_queue_worker = partial(buckets.run_queue_worker, tuning=SHORT_WAITS)


@pytest.mark.parametrize(
    ("matches", "answer"),
    [
        (is_read, Answer(503, "SlowDown")),
        (is_read, Answer(404, body=b"404 page not found")),
        (is_read, Answer(cut=True)),
        (lambda asked: asked.method == "GET" and asked.tagging, Answer(200, body=b"<html>a proxy's own page")),
        (is_read, Answer(wrong_length=100)),
        (is_tagging, Answer(500, "InternalError")),
        (lambda asked: asked.operation == "DeleteMessageBatch", Answer(503, "ServiceUnavailable")),
        (lambda asked: asked.operation == "ReceiveMessage", Answer(500, "InternalFailure")),
    ],
    ids=["throttled", "a-proxy-s-404", "cut", "garbled", "wrong-length", "tagging-500", "delete-503", "receive-500"],
)
async def test_S11_a_temporary_fault_costs_time_only(store, matches, answer):
    """The photo carries its tags, the message is gone."""
    with FaultProxy(store.address, once(matches, answer, 2)) as proxy:
        put(store, "a.png", plain(RED))
        async with run_queue_worker(behind(store, proxy)):
            await until(lambda: "pawtag:fingerprint" in tags(store, "a.png"), 50)
            await until(lambda: count_messages(store) == 0, 50)


@pytest.mark.parametrize(
    ("matches", "code", "named"),
    [
        (is_read, "AccessDenied", "s3:GetObject"),
        (is_tagging, "AccessDenied", "s3:PutObjectTagging"),
        (is_read, "RequestTimeTooSkewed", "clock"),
        (is_read, "InvalidAccessKeyId", "not accepted"),
        (is_read, "SignatureDoesNotMatch", "check the key and its secret"),
        (
            lambda asked: asked.operation == "ReceiveMessage",
            "InvalidSignatureException",
            "check the key and its secret",
        ),
        (lambda asked: asked.operation == "ReceiveMessage", "AccessDenied", "sqs:ReceiveMessage"),
    ],
)
async def test_S12_a_denial_names_the_missing_permission(store, matches, code, named):
    """In the state that /readyz shows."""
    with FaultProxy(store.address, lambda asked: Answer(403, code) if matches(asked) else None) as proxy:
        put(store, "a.png", plain(RED))
        async with run_queue_worker(behind(store, proxy)) as at_work:
            await until(lambda: named in (at_work.runner.worker.state.reason or ""))


async def test_S12_renewed_credentials_are_used(store, tmp_path, monkeypatch):
    """Without a restart: the credentials file is read again once they have expired."""
    tuning = replace(SHORT_WAITS, credentials_interval_s=0.1, configuration_delay_s=1.0)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))

    def write(key: str) -> None:
        (tmp_path / "credentials").write_text(f"[default]\naws_access_key_id={key}\naws_secret_access_key=x\n")

    write("OLD")
    expired = lambda asked: Answer(400, "ExpiredToken") if is_read(asked) and "OLD" in asked.credentials else None  # noqa: E731
    with FaultProxy(store.address, expired) as proxy:
        put(store, "a.png", plain(RED))
        async with run_queue_worker(behind(store, proxy), tuning=tuning) as at_work:
            await until(lambda: "expired" in (at_work.runner.worker.state.reason or ""))
            write("NEW")
            await until(lambda: "pawtag:fingerprint" in tags(store, "a.png"))


@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (405, "MethodNotAllowed")])
async def test_S07_a_store_without_tags_is_recognised_at_the_start(store, caplog, status, code):
    """It is named once, and records are sidecar objects."""
    with FaultProxy(store.address, lambda asked: Answer(status, code) if asked.tagging else None) as proxy:
        async with run_queue_worker(behind(store, proxy), bucket=BUCKET):
            await until(lambda: "no object tags" in caplog.text)
            put(store, "a.png", plain(RED))
            put(store, "b.png", plain(GREEN))
            await until(lambda: count_messages(store) == 0)
    assert sidecar(store, "a.png")["tags"][0]["label"] == "red"
    assert caplog.text.count("no object tags") == 1


@pytest.mark.parametrize("code", ["BadRequest", "InvalidTag", "InvalidArgument"])
async def test_S07_a_refused_set_of_tags_leaves_them_as_they_were(store, code):
    """Whatever the code of the refusal is."""
    put(store, "a.png", plain(RED), album="summer")
    refused = lambda asked: Answer(400, code) if is_tagging(asked) else None  # noqa: E731
    with FaultProxy(store.address, refused) as proxy:
        async with run_queue_worker(behind(store, proxy)):
            await until(lambda: count_messages(store) == 0)
    assert tags(store, "a.png") == {"album": "summer"}
    assert sidecar(store, "a.png")["status"] == "tagged"


async def test_S13_a_large_object_is_not_downloaded(store):
    """Nor one in an archive; a customer's key is a recorded result."""
    put(store, "big.png", b"x" * 30_000_000)
    put(store, "asleep.png", plain(RED))
    asleep = lambda asked: Answer(403, "InvalidObjectState") if asked.path.endswith("asleep.png") else None  # noqa: E731
    with FaultProxy(store.address, asleep) as proxy:
        async with run_queue_worker(behind(store, proxy), max_bytes=1_000_000):
            await until(lambda: count_messages(store) == 0)
    assert proxy.sent_bytes < 25_000_000  # what the sockets took before they were closed
    assert tags(store, "big.png")["pawtag:error"] == "too-many-bytes"
    assert tags(store, "asleep.png") == {}


async def test_a_message_for_another_model_is_released(store):
    """`pawtag s3 enqueue` says whose records are wanted."""
    put(store, "a.png", plain(RED))
    store.sqs.purge_queue(QueueUrl=store.url)
    body = {"Records": [event("a.png")], "pawtag": {"fingerprint": "somebody"}}
    store.sqs.send_message(QueueUrl=store.url, MessageBody=json.dumps(body))
    async with run_queue_worker(store):
        put(store, "b.png", plain(RED))
        await until(lambda: "pawtag:fingerprint" in tags(store, "b.png"))
    assert "pawtag:fingerprint" not in tags(store, "a.png")
    assert count_messages(store) == 1


async def test_S02_where_a_key_is_ambiguous_the_object_that_exists_decides(store):
    """A store of unknown making writes keys raw, or as in a form."""
    for key in ("a+b.png", "c d.png"):
        put(store, key, plain(RED))
    store.sqs.purge_queue(QueueUrl=store.url)
    records = [event(key) | {"eventSource": "some:store"} for key in ("a+b.png", "c+d.png")]
    store.sqs.send_message(QueueUrl=store.url, MessageBody=json.dumps({"Records": records}))
    async with run_queue_worker(store):
        await until(lambda: all("pawtag:fingerprint" in tags(store, key) for key in ("a+b.png", "c d.png")))
        await until(lambda: count_messages(store) == 0)


OTHERS = json.dumps({"Records": [event("a.png", "other")]})


@pytest.mark.parametrize("body", ["garbage", OTHERS])
async def test_S08_without_a_redrive_rule_garbage_goes_to_the_local_dead_letters(store, tmp_path, body):
    """Another bucket's message, too: after a bounded number of receives, and never in a tight loop."""
    store.sqs.purge_queue(QueueUrl=store.url)  # of the test event
    store.sqs.send_message(QueueUrl=store.url, MessageBody=body)
    for _ in range(4):
        (message,) = store.sqs.receive_message(QueueUrl=store.url)["Messages"]
        given = {"QueueUrl": store.url, "ReceiptHandle": message["ReceiptHandle"]}
        store.sqs.change_message_visibility(**given, VisibilityTimeout=0)
    async with run_queue_worker(store, state=tmp_path, bucket=BUCKET) as at_work:
        await until(lambda: count_messages(store) == 0)
        (letter,) = DeadLetters(at_work.parts.database).list_letters()
    assert (letter["body"], letter["receives"]) == (body, 5)


async def test_sidecar_objects_in_another_bucket_overwrite_nothing(store):
    """A prefix of their own; another program's object of that name stays, and the record takes the second name."""
    put(store, "records/a.png.json", b'{"title": "Takeout"}')
    put(store, "a.png", plain(RED))
    async with run_queue_worker(store, output="sidecar", sidecar_prefix="records/"):
        await until(lambda: count_messages(store) == 0)
    found = store.s3.get_object(Bucket=BUCKET, Key="records/a.png.pawtag.json")["Body"].read()
    assert json.loads(found)["source"]["uri"] == "s3://pets/a.png"
    assert sidecar(store, "records/a.png") == {"title": "Takeout"}


async def test_S11_a_store_that_is_unavailable_at_the_start_is_waited_for(store):
    """Its absence ends nothing: the upload is tagged when it is there."""
    with FaultProxy(store.address, lambda asked: Answer(503, "SlowDown") if not asked.operation else None) as proxy:
        put(store, "a.png", plain(RED))
        async with run_queue_worker(behind(store, proxy), bucket=BUCKET):
            await until(lambda: any(is_read(asked) for asked in proxy.asked), 40)
            proxy.fault = lambda _: None
            await until(lambda: "pawtag:fingerprint" in tags(store, "a.png"), 50)


@pytest.mark.parametrize(
    "body",
    [
        {"detail-type": "Object Created", "detail": {"bucket": {"name": BUCKET}, "object": {"key": 5}}},
        {"Records": [event("a.png") | {"s3": {"bucket": {"name": 7}, "object": {"key": "a.png"}}}]},
        {"Type": "Notification", "Message": 3},
        {"Records": [event("a.png", "other")]},
        {"Records": [event("a.png") | {"eventName": None}] * 1000},
    ],
)
async def test_S08_an_invalid_event_inside_a_message_stops_nothing(store, body):
    """Nor one of another bucket: it is left to the queue's own rule; the next upload is tagged."""
    store.sqs.purge_queue(QueueUrl=store.url)  # of the test event
    store.sqs.send_message(QueueUrl=store.url, MessageBody=json.dumps(body))
    async with run_queue_worker(store, bucket=BUCKET):
        put(store, "b.png", plain(RED))
        await until(lambda: "pawtag:fingerprint" in tags(store, "b.png"))
        await until(lambda: count_messages(store) == 1)


async def test_with_both_outputs_neither_record_is_lost(store):
    """What fails of either is done again."""
    sidecars = lambda asked: asked.method == "PUT" and asked.path.endswith(".json")  # noqa: E731
    with FaultProxy(store.address, once(sidecars, Answer(503, "SlowDown"), 3)) as proxy:
        put(store, "a.png", plain(RED))
        async with run_queue_worker(behind(store, proxy), output="both"):
            await until(lambda: count_messages(store) == 0, 50)
    assert "pawtag:fingerprint" in tags(store, "a.png")
    assert sidecar(store, "a.png")["status"] == "tagged"


async def test_S06_tags_that_are_added_during_tagging_stay(store):
    """They are read again where the first look is past."""
    put(store, "first.png", plain(GREEN), album="summer")
    async with run_queue_worker(store, SlowEngine()):
        await until(lambda: "pawtag:fingerprint" in tags(store, "first.png"))
        put(store, "a.png", plain(RED))
        await asyncio.sleep(0.7)
        tag_set = {"TagSet": [{"Key": "album", "Value": "winter"}]}
        store.s3.put_object_tagging(Bucket=BUCKET, Key="a.png", Tagging=tag_set)
        await until(lambda: "pawtag:fingerprint" in tags(store, "a.png"))
    assert tags(store, "a.png")["album"] == "winter"


async def test_S13_a_photo_under_a_customer_key_is_failed(store):
    """Once: the message is gone."""
    sealed = lambda asked: Answer(400, "InvalidRequest") if is_read(asked) else None  # noqa: E731
    with FaultProxy(store.address, sealed) as proxy:
        put(store, "a.png", plain(RED))
        async with run_queue_worker(behind(store, proxy)):
            await until(lambda: count_messages(store) == 0)
    assert tags(store, "a.png")["pawtag:error"] == "unreadable"


async def test_S09_a_queued_photo_keeps_its_message_invisible(store):
    """And what had no turn when the daemon ends is given back at once."""
    for number in range(6):
        put(store, f"{number}.png", plain(RED))
    async with run_queue_worker(store, SlowEngine(), concurrency=1):
        await asyncio.sleep(1)
    assert count_messages(store) >= 4
    async with run_queue_worker(store):
        await until(lambda: count_messages(store) == 0, 10)


async def test_S09_a_photo_that_takes_longer_than_the_visibility_timeout_is_tagged_once(store):
    """It stays invisible while it is in flight."""
    put(store, "a.png", plain(RED))
    async with run_queue_worker(store, SlowEngine(12), visibility_timeout_s=10) as at_work:
        await until(lambda: "pawtag:fingerprint" in tags(store, "a.png"))
        await until(lambda: count_messages(store) == 0)
        assert at_work.model.batches == [1]


async def test_S10_a_failed_deletion_is_retried(store):
    """Of a batch only that."""
    failed = json.dumps({"Successful": [], "Failed": [{"Id": "0", "Code": "InternalError", "SenderFault": False}]})
    is_deletion = lambda asked: asked.operation == "DeleteMessageBatch"  # noqa: E731
    store.sqs.purge_queue(QueueUrl=store.url)  # of the test event
    with FaultProxy(store.address, once(is_deletion, Answer(200, body=failed.encode()))) as proxy:
        put(store, "a.png", plain(RED))
        async with run_queue_worker(behind(store, proxy)):
            await until(lambda: count_messages(store) == 0)
    assert sum(is_deletion(asked) for asked in proxy.asked) >= 2


async def test_a_fault_of_every_photo_is_logged_once(store, caplog):
    """Not once for each."""
    denied = lambda asked: Answer(403, "AccessDenied") if asked.method == "GET" else None  # noqa: E731
    with FaultProxy(store.address, denied) as proxy:
        for number in range(12):
            put(store, f"{number}.png", plain(RED))
        async with run_queue_worker(behind(store, proxy)):
            await until(lambda: sum(one.method == "GET" for one in proxy.asked) >= 12)
    assert 1 <= caplog.text.count("Retrying (") <= 2
