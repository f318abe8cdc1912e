"""S3 and SQS over a socket (moto's server): what is uploaded carries its tags, and everybody else's things stay."""

import asyncio
import json
import urllib.request
from contextlib import asynccontextmanager
from types import SimpleNamespace

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from doubles import ColourModel, colour_tagger
from pawtag.buckets import queue_works
from pawtag.config import Settings
from pawtag.records import ModelName
from pictures import BLUE, GREEN, RED, plain

BUCKET = "pets"
ODD_KEYS = ["a b+c.png", "100%.png", "grün/猫 1.png", "quo'te\".png", "plus++%2B.png", "a//b.png"]


@pytest.fixture(scope="module")
def address():
    """moto's server on a free port."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def store(address, monkeypatch):
    """An empty bucket whose uploads are told to a queue, and clients of both."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "pawtag")
    how = {"endpoint_url": address, "region_name": "us-east-1"}
    s3, sqs = boto3.client("s3", config=Config(s3={"addressing_style": "path"}), **how), boto3.client("sqs", **how)
    urllib.request.urlopen(urllib.request.Request(f"{address}/moto-api/reset", method="POST")).read()
    s3.create_bucket(Bucket=BUCKET)
    url = sqs.create_queue(QueueName="pawtag")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rule = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [rule]})
    return SimpleNamespace(s3=s3, sqs=sqs, url=url, address=address)


def put(store, key: str, data: bytes, **tags: str) -> None:
    tagging = {"Tagging": "&".join(f"{name}={value}" for name, value in tags.items())} if tags else {}
    store.s3.put_object(Bucket=BUCKET, Key=key, Body=data, **tagging)


def tags(store, key: str) -> dict[str, str]:
    found = store.s3.get_object_tagging(Bucket=BUCKET, Key=key)
    return {tag["Key"]: tag["Value"] for tag in found["TagSet"]}


def sidecar(store, key: str) -> dict:
    return json.loads(store.s3.get_object(Bucket=BUCKET, Key=f"{key}.json")["Body"].read())


def waiting(store) -> int:
    found = store.sqs.get_queue_attributes(QueueUrl=store.url, AttributeNames=["All"])["Attributes"]
    return sum(int(found[name]) for name in found if name.startswith("ApproximateNumberOfMessages"))


@asynccontextmanager
async def working(store, model=None, **settings):
    """The bucket's part of the daemon, at work; gives the work and the model."""
    model = model or ColourModel()
    own = {"queue_url": store.url, "endpoint_url": store.address, "region": "us-east-1", "addressing": "path"}
    async with colour_tagger(model, name=settings.pop("name", None)).running() as tagger:
        (work,) = queue_works(Settings(s3=own | settings), tagger)
        stop = asyncio.Event()
        running = asyncio.create_task(work.run(stop))
        try:
            yield SimpleNamespace(work=work, model=model, counts=work.pipeline.counts)
        finally:
            stop.set()
            await running


async def until(condition, within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.05)


async def test_every_upload_carries_its_tags(store):
    """Whatever its key is; the queue is empty afterwards."""
    async with working(store):
        for key in ODD_KEYS:
            put(store, key, plain(RED))
        put(store, "nothing.png", plain(BLUE))
        await until(lambda: all("pawtag:by" in tags(store, key) for key in [*ODD_KEYS, "nothing.png"]))
        await until(lambda: waiting(store) == 0)
    assert tags(store, ODD_KEYS[0])["pawtag:species"] == "red"
    assert tags(store, "nothing.png")["pawtag:species"] == "none"


async def test_tags_of_others_stay(store):
    """Ours are merged into them."""
    put(store, "a.png", plain(GREEN), album="summer", owner="me")
    async with working(store):
        await until(lambda: "pawtag:by" in tags(store, "a.png"))
    assert tags(store, "a.png").items() >= {"album": "summer", "owner": "me", "pawtag:species": "green"}.items()


async def test_where_ten_tags_leave_no_room_the_record_is_an_object_beside_it(store):
    """The tags stay as they were; the object is the stamp, and is no photo."""
    others = {f"t{number}": "x" for number in range(9)}
    put(store, "a.png", plain(RED), **others)
    async with working(store) as at_work:
        await until(lambda: waiting(store) == 0)
        assert sidecar(store, "a.png")["tags"][0]["label"] == "red"
        assert tags(store, "a.png") == others
        calls = len(at_work.model.batches)
        put(store, "b.png", plain(RED))
        again = {"Records": [event("a.png")]}
        store.sqs.send_message(QueueUrl=store.url, MessageBody=json.dumps(again))
        await until(lambda: waiting(store) == 0 and "pawtag:by" in tags(store, "b.png"))
        assert len(at_work.model.batches) == calls + 1
    assert sidecar(store, "a.png")["source"]["uri"] == "s3://pets/a.png"


def event(key: str, bucket: str = BUCKET) -> dict:
    found = {"bucket": {"name": bucket}, "object": {"key": key, "size": 1, "eTag": "stale"}}
    return {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": found}


@pytest.mark.parametrize("write", ["sidecar", "both"])
async def test_records_go_where_the_settings_say(store, write):
    """An object beside the photo, or that and tags; another program's of that name stays."""
    put(store, "a.png", plain(RED))
    async with working(store, write=write):
        await until(lambda: waiting(store) == 0)
    record = sidecar(store, "a.png")
    assert (record["status"], record["source"]["kind"]) == ("tagged", "s3")
    assert ("pawtag:species" in tags(store, "a.png")) == (write == "both")


async def test_a_corrected_object_keeps_what_a_person_wrote(store):
    """As in a folder."""
    put(store, "a.png", plain(RED))
    async with working(store, write="sidecar"):
        await until(lambda: waiting(store) == 0)
        record = sidecar(store, "a.png") | {"corrected": {"species": ["green"]}, "album": "summer"}
        put(store, "a.png.json", json.dumps(record).encode())
        put(store, "a.png", plain(RED, size=(9, 9)))
        await until(lambda: sidecar(store, "a.png")["photo"]["width"] == 9)
    assert sidecar(store, "a.png")["tags"][0]["label"] == "green"
    assert sidecar(store, "a.png")["album"] == "summer"


async def test_a_second_telling_costs_no_model_call(store):
    """The stamp says done: the message is deleted, the body not read."""
    put(store, "a.png", plain(RED))
    async with working(store) as at_work:
        await until(lambda: waiting(store) == 0)
        for _ in range(3):
            store.sqs.send_message(QueueUrl=store.url, MessageBody=json.dumps({"Records": [event("a.png")]}))
        await until(lambda: waiting(store) == 0)
        assert len(at_work.model.batches) == 1


async def test_an_overwritten_photo_is_tagged_as_it_is_now(store):
    """Tags that came with a copy do not vouch for another content."""
    put(store, "a.png", plain(RED))
    async with working(store):
        await until(lambda: "pawtag:by" in tags(store, "a.png"))
        old = tags(store, "a.png")
        store.s3.put_object(
            Bucket=BUCKET,
            Key="a.png",
            Body=plain(GREEN),
            Tagging="&".join(f"{key}={value}" for key, value in old.items()),
        )
        await until(lambda: tags(store, "a.png").get("pawtag:species") == "green")


async def test_what_is_no_photo_of_ours_is_acknowledged(store):
    """A deleted object, a folder marker, a sidecar, another bucket, a test event; a broken photo gets its error."""
    async with working(store, bucket=BUCKET) as at_work:
        for body in (
            {"Records": [event("gone.png"), event("folder/"), event("x.png.json"), event("y.png", "other")]},
            {"Service": "Amazon S3", "Event": "s3:TestEvent"},
        ):
            store.sqs.send_message(QueueUrl=store.url, MessageBody=json.dumps(body))
        put(store, "broken.png", b"no picture")
        put(store, "empty.png", b"")
        await until(lambda: waiting(store) == 0 and "pawtag:error" in tags(store, "empty.png"))
        assert at_work.model.batches == []
    assert tags(store, "broken.png")["pawtag:error"] == "not-an-image"
    assert tags(store, "empty.png")["pawtag:error"] == "empty"


async def test_a_garbled_message_is_left_to_the_queue_s_own_rule(store):
    """It is neither deleted nor taken in a loop; the others go on."""
    store.sqs.send_message(QueueUrl=store.url, MessageBody="garbage")
    async with working(store):
        put(store, "a.png", plain(RED))
        await until(lambda: "pawtag:by" in tags(store, "a.png"))
    assert waiting(store) == 1


async def test_a_fallback_leaves_the_tags_of_others_alone(store):
    """Tags do not name their model: they may be the wanted one's."""
    put(store, "a.png", plain(RED))
    async with working(store):
        await until(lambda: "pawtag:by" in tags(store, "a.png"))
    before = tags(store, "a.png")
    fallback = ModelName(id="embedded", fallback=True, wanted="colours")
    async with working(store, name=fallback) as at_work:
        store.sqs.send_message(QueueUrl=store.url, MessageBody=json.dumps({"Records": [event("a.png")]}))
        await until(lambda: waiting(store) == 0)
        assert at_work.model.batches == []
    assert tags(store, "a.png") == before


async def test_a_lost_queue_is_told_and_found_again(store, caplog):
    """/readyz says so; no flood of the log."""
    missing = SimpleNamespace(**vars(store) | {"url": store.url.replace("pawtag", "absent")})
    async with working(missing) as at_work:
        await until(lambda: at_work.work.pipeline.state.state == "lost")
        store.sqs.create_queue(QueueName="absent")
        await until(lambda: at_work.work.pipeline.state.state == "running")
