"""S3 and SQS over a socket (moto's server): each upload gets its tags, and tags of others stay."""

import asyncio
import json
from contextlib import AsyncExitStack
from types import SimpleNamespace

import pytest

from pawtag.domain.records import ModelInfo
from support.buckets import (
    BUCKET,
    ODD_KEYS,
    behind,
    count_messages,
    event,
    put,
    run_queue_worker,
    sidecar,
    tags,
    until,
    wire,
)
from support.doubles import ColourEngine, SlowEngine, colour_tagger
from support.fault_proxy import FaultProxy
from support.pictures import BLUE, GREEN, RED, plain
from support.pipeline import open_parts


async def test_S02_every_upload_carries_its_tags(store):
    """Whatever its key is; the queue is empty afterwards."""
    keys = [*ODD_KEYS, "a//b.png"]
    async with run_queue_worker(store):
        for key in keys:
            put(store, key, plain(RED))
        put(store, "nothing.png", plain(BLUE))
        await until(lambda: all("pawtag:fingerprint" in tags(store, key) for key in [*keys, "nothing.png"]))
        await until(lambda: count_messages(store) == 0)
    assert tags(store, keys[0])["pawtag:species"] == "red"
    assert tags(store, "nothing.png")["pawtag:species"] == "none"


async def test_S06_tags_of_others_stay(store):
    """Ours are merged into them."""
    put(store, "a.png", plain(GREEN), album="summer", owner="me")
    async with run_queue_worker(store):
        await until(lambda: "pawtag:fingerprint" in tags(store, "a.png"))
    assert tags(store, "a.png").items() >= {"album": "summer", "owner": "me", "pawtag:species": "green"}.items()


async def test_S06_where_ten_tags_leave_no_room_the_record_is_a_sidecar_object(store):
    """The tags stay as they were; the object is the stamp, and is no photo."""
    others = {f"t{number}": "x" for number in range(9)}
    put(store, "a.png", plain(RED), **others)
    async with run_queue_worker(store) as at_work:
        await until(lambda: count_messages(store) == 0)
        assert sidecar(store, "a.png")["tags"][0]["label"] == "red"
        assert tags(store, "a.png") == others
        calls = len(at_work.model.batches)
        put(store, "b.png", plain(RED))
        again = {"Records": [event("a.png")]}
        store.sqs.send_message(QueueUrl=store.url, MessageBody=json.dumps(again))
        await until(lambda: count_messages(store) == 0 and "pawtag:fingerprint" in tags(store, "b.png"))
        assert len(at_work.model.batches) == calls + 1
    assert sidecar(store, "a.png")["source"]["uri"] == "s3://pets/a.png"


@pytest.mark.parametrize("write", ["sidecar", "both"])
async def test_records_go_where_the_settings_say(store, write):
    """A sidecar object, or that and tags; another program's of that name stays."""
    put(store, "a.png", plain(RED))
    async with run_queue_worker(store, output=write):
        await until(lambda: count_messages(store) == 0)
    record = sidecar(store, "a.png")
    assert (record["status"], record["source"]["kind"]) == ("tagged", "s3")
    assert ("pawtag:species" in tags(store, "a.png")) == (write == "both")


async def test_a_corrected_object_keeps_what_a_person_wrote(store):
    """As in a folder."""
    put(store, "a.png", plain(RED))
    async with run_queue_worker(store, output="sidecar"):
        await until(lambda: count_messages(store) == 0)
        record = sidecar(store, "a.png") | {"corrected": {"species": ["green"]}, "album": "summer"}
        put(store, "a.png.json", json.dumps(record).encode())
        put(store, "a.png", plain(RED, size=(9, 9)))
        await until(lambda: sidecar(store, "a.png")["photo"]["width"] == 9)
    assert sidecar(store, "a.png")["tags"][0]["label"] == "green"
    assert sidecar(store, "a.png")["album"] == "summer"


async def test_S03_S14_a_second_event_costs_no_model_call(store):
    """The stamp says done: the message is deleted, the body not read."""
    put(store, "a.png", plain(RED))
    async with run_queue_worker(store) as at_work:
        await until(lambda: count_messages(store) == 0)
        for _ in range(3):
            store.sqs.send_message(QueueUrl=store.url, MessageBody=json.dumps({"Records": [event("a.png")]}))
        await until(lambda: count_messages(store) == 0)
        assert len(at_work.model.batches) == 1


async def test_S03_an_overwritten_photo_is_tagged_as_it_is_now(store):
    """Tags that came with a copy do not vouch for another content."""
    put(store, "a.png", plain(RED))
    async with run_queue_worker(store):
        await until(lambda: "pawtag:fingerprint" in tags(store, "a.png"))
        old = tags(store, "a.png")
        store.s3.put_object(
            Bucket=BUCKET,
            Key="a.png",
            Body=plain(GREEN),
            Tagging="&".join(f"{key}={value}" for key, value in old.items()),
        )
        await until(lambda: tags(store, "a.png").get("pawtag:species") == "green")


async def test_S01_S03_S13_an_event_that_needs_no_work_is_acknowledged(store):
    """A deleted object, a folder marker, a sidecar, another bucket, a test event; a broken photo gets its error."""
    async with run_queue_worker(store, bucket=BUCKET) as at_work:
        for body in (
            {"Records": [event("gone.png"), event("folder/"), event("x.png.json"), event("y.png", "other")]},
            {"Service": "Amazon S3", "Event": "s3:TestEvent"},
        ):
            store.sqs.send_message(QueueUrl=store.url, MessageBody=json.dumps(body))
        put(store, "broken.png", b"no picture")
        put(store, "empty.png", b"")
        await until(lambda: count_messages(store) == 0 and "pawtag:error" in tags(store, "empty.png"))
        assert at_work.model.batches == []
    assert tags(store, "broken.png")["pawtag:error"] == "not-an-image"
    assert tags(store, "empty.png")["pawtag:error"] == "empty"


async def test_S08_garbage_is_left_to_the_redrive_rule_of_the_queue(store):
    """It is neither deleted nor taken in a loop; the others go on."""
    store.sqs.send_message(QueueUrl=store.url, MessageBody="garbage")
    async with run_queue_worker(store):
        put(store, "a.png", plain(RED))
        await until(lambda: "pawtag:fingerprint" in tags(store, "a.png"))
    assert count_messages(store) == 1


async def test_a_fallback_leaves_the_tags_of_others_alone(store):
    """Tags do not name their model: they may be the wanted one's."""
    put(store, "a.png", plain(RED))
    async with run_queue_worker(store):
        await until(lambda: "pawtag:fingerprint" in tags(store, "a.png"))
    before = tags(store, "a.png")
    fallback = ModelInfo(id="embedded", fallback=True, wanted="colours")
    async with run_queue_worker(store, name=fallback) as at_work:
        store.sqs.send_message(QueueUrl=store.url, MessageBody=json.dumps({"Records": [event("a.png")]}))
        await until(lambda: count_messages(store) == 0)
        assert at_work.model.batches == []
    assert tags(store, "a.png") == before


async def test_S12_a_missing_queue_is_reported_and_found_again(store, caplog):
    """/readyz says so; the log once."""
    missing = SimpleNamespace(**vars(store) | {"url": store.url.replace("pawtag", "absent")})
    async with run_queue_worker(missing) as at_work:
        await until(lambda: at_work.runner.worker.state.state == "unavailable")
        await asyncio.sleep(2)  # it is asked again
        store.sqs.create_queue(QueueName="absent")
        await until(lambda: at_work.runner.worker.state.state == "running")
    assert caplog.text.count("no such bucket or queue") == 1


async def test_a_new_photo_costs_one_get_and_one_put(store):
    """Requests are money. The first of a bucket costs a GET more: does one show tags?"""
    with FaultProxy(store.address) as proxy:
        async with run_queue_worker(behind(store, proxy)):
            put(store, "first.png", plain(RED))
            await until(lambda: "pawtag:fingerprint" in tags(store, "first.png"))
            put(store, "a.png", plain(RED))
            await until(lambda: "pawtag:fingerprint" in tags(store, "a.png"))
    asked = [(one.method, one.tagging) for one in proxy.asked if one.path.endswith("/a.png")]
    assert asked == [("GET", False), ("PUT", True)]


async def test_S04_two_daemons_with_one_photo_agree(store):
    """Whoever is second finds the stamp: at most one needless model call."""
    model = ColourEngine()
    keys = [f"{number}.png" for number in range(5)]
    for key in keys:
        put(store, key, plain(RED))
        for _ in range(3):
            store.sqs.send_message(QueueUrl=store.url, MessageBody=json.dumps({"Records": [event(key)]}))
    async with run_queue_worker(store, model), run_queue_worker(store, model):
        await until(lambda: count_messages(store) == 0)
    assert all(tags(store, key)["pawtag:species"] == "red" for key in keys)
    assert len(keys) <= sum(model.batches) <= 2 * len(keys)


@pytest.mark.parametrize("write", ["tags", "both"])
async def test_S05_objects_that_pawtag_writes_cause_no_work(store, write):
    """Where the store tells of tags and of records, too."""
    queue = {"QueueUrl": store.url, "AttributeNames": ["QueueArn"]}
    arn = store.sqs.get_queue_attributes(**queue)["Attributes"]["QueueArn"]
    rule = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectTagging:*"]}
    notification = {"Bucket": BUCKET, "NotificationConfiguration": {"QueueConfigurations": [rule]}}
    store.s3.put_bucket_notification_configuration(**notification)
    with FaultProxy(store.address) as proxy:
        async with run_queue_worker(behind(store, proxy), output=write):
            put(store, "a.png", plain(RED))
            await until(lambda: "pawtag:fingerprint" in tags(store, "a.png"))
            await until(lambda: count_messages(store) == 0)
    assert proxy.count("GET", ends="a.png") == 2  # to read it, and once for the bucket: does a GET show tags?


async def test_S16_four_daemons_share_a_queue(store):
    """Each photo is tagged once."""
    model = ColourEngine()
    keys = [f"{number}.png" for number in range(60)]
    for key in keys:
        put(store, key, plain(RED))
    async with AsyncExitStack() as stack:
        for _ in range(4):
            await stack.enter_async_context(run_queue_worker(store, model))
        await until(lambda: count_messages(store) == 0)
    assert all("pawtag:fingerprint" in tags(store, key) for key in keys)
    assert sum(model.batches) == len(keys)


async def test_photos_of_the_fallback_are_tagged_again(store, tmp_path):
    """By the wanted model, also after a restart: the messages are gone by then."""
    fallback = ModelInfo(id="embedded", fallback=True, wanted="colours")
    async with run_queue_worker(store, name=fallback, state=tmp_path):
        put(store, "a.png", plain(RED))
        await until(lambda: count_messages(store) == 0)
    old = tags(store, "a.png")["pawtag:fingerprint"]
    async with open_parts(colour_tagger(fingerprint="wanted"), tmp_path) as parts:
        runner, stop = wire(store, queue_url=store.url).build_owed_runner(parts), asyncio.Event()
        running = asyncio.create_task(runner.run(stop))
        await until(lambda: not parts.database.quick.execute("SELECT uri FROM owed"))
        stop.set()
        await running
    assert (old.split(".")[0], tags(store, "a.png")["pawtag:fingerprint"].split(".")[0]) == ("colours", "wanted")


async def test_a_long_message_does_not_delay_the_stop(store):
    """What had no turn is given back, and comes again."""
    keys = [f"{number}.png" for number in range(40)]
    for key in keys:
        put(store, key, plain(RED))
    store.sqs.purge_queue(QueueUrl=store.url)
    store.sqs.send_message(QueueUrl=store.url, MessageBody=json.dumps({"Records": [event(key) for key in keys]}))
    model = SlowEngine(0.3)
    async with run_queue_worker(store, model, concurrency=2):
        await until(lambda: model.batches)
    assert sum(model.batches) < len(keys) / 2
    async with run_queue_worker(store):
        await until(lambda: count_messages(store) == 0)
    assert all("pawtag:fingerprint" in tags(store, key) for key in keys)
