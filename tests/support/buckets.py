"""A bucket and a queue on moto's server, over a socket, and the parts of a daemon that use them."""

import asyncio
import json
import urllib.request
from contextlib import asynccontextmanager
from types import SimpleNamespace
from urllib.parse import quote, urlencode

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from pawtag.app.s3_wiring import S3Wiring
from pawtag.config import Settings
from pawtag.s3.tuning import S3Tuning
from support.doubles import ColourEngine, colour_tagger
from support.pipeline import open_parts

BUCKET, REGION = "pets", "us-east-1"
ODD_KEYS = ["a b+c.png", "100%.png", "grün/猫 1.png", "quo'te\".png", "plus++%2B.png", "?#&=:@,;.png", "1/2/3"]
# Tests use shorter waits than users of AWS.
FAST = S3Tuning(busy_delay_s=1.0)
SHORT_WAITS = S3Tuning(busy_delay_s=1.0, transient_delay_s=0.5, client_attempts=1)


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
    """An empty bucket whose uploads are notified to a queue, and clients of both."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "pawtag")
    parameters = {"endpoint_url": address, "region_name": REGION}
    s3 = boto3.client("s3", config=Config(s3={"addressing_style": "path"}), **parameters)
    sqs = boto3.client("sqs", **parameters)
    urllib.request.urlopen(urllib.request.Request(f"{address}/moto-api/reset", method="POST")).read()
    s3.create_bucket(Bucket=BUCKET)
    url = sqs.create_queue(QueueName="pawtag")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rule = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [rule]})
    return SimpleNamespace(s3=s3, sqs=sqs, url=url, address=address, bucket=BUCKET)


@pytest.fixture
def cli_store(store, tmp_path, monkeypatch):
    """The store, with the environment and the working folder of a command."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"ENDPOINT_URL": store.address, "REGION": REGION, "ADDRESSING": "path"}.items():
        monkeypatch.setenv(f"PAWTAG_S3__{name}", value)
    monkeypatch.setenv("PAWTAG_STATE__DIR", str(tmp_path))
    return store


def behind(store, proxy):
    """The store as the daemon sees it through the proxy."""
    url = store.url.replace(store.address, proxy.address)
    return SimpleNamespace(**vars(store) | {"address": proxy.address, "url": url})


def daemon_environment(store, home) -> dict[str, str]:
    """The environment of a daemon that serves the store's queue."""
    s3 = {"ENDPOINT_URL": store.address, "REGION": REGION, "ADDRESSING": "path", "BUCKET": store.bucket}
    s3 |= {"QUEUE_URL": store.url}
    return {f"PAWTAG_S3__{name}": value for name, value in s3.items()} | {"PAWTAG_STATE__DIR": str(home / "state")}


def put(store, key: str, data: bytes, **tags: str) -> None:
    """Upload an object with these tags."""
    tagging = {"Tagging": urlencode(tags, quote_via=quote)} if tags else {}
    store.s3.put_object(Bucket=store.bucket, Key=key, Body=data, **tagging)


def tags(store, key: str) -> dict[str, str]:
    """The tags of an object."""
    answer = store.s3.get_object_tagging(Bucket=store.bucket, Key=key)
    return {tag["Key"]: tag["Value"] for tag in answer.get("TagSet") or []}


def sidecar(store, key: str) -> dict:
    """The sidecar object of a photo."""
    return json.loads(store.s3.get_object(Bucket=store.bucket, Key=f"{key}.json")["Body"].read())


def read(store, key: str) -> bytes:
    """The object's bytes; none if it is not there."""
    return store.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() if exists(store, key) else b""


def exists(store, key: str) -> bool:
    found = store.s3.list_objects_v2(Bucket=BUCKET, Prefix=key).get("Contents", [])
    return any(entry["Key"] == key for entry in found)


def count_messages(store) -> int:
    """All messages of the queue, invisible ones included."""
    found = store.sqs.get_queue_attributes(QueueUrl=store.url, AttributeNames=["All"])["Attributes"]
    return sum(int(found[name]) for name in found if name.startswith("ApproximateNumberOfMessages"))


def event(key: str, bucket: str = BUCKET) -> dict:
    """One record of a notification."""
    found = {"bucket": {"name": bucket}, "object": {"key": key, "size": 1, "eTag": "stale"}}
    return {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": found}


def settings_for(store, *, state=None, max_bytes=None, **own) -> Settings:
    """The settings of a daemon on the store."""
    s3 = {"endpoint_url": store.address, "region": REGION, "addressing": "path"} | own
    others = {"state": {"dir": state}} if state else {}
    others |= {"limits": {"max_file_bytes": max_bytes}} if max_bytes else {}
    return Settings(s3=s3, **others)


def wire(store, *, tuning: S3Tuning = FAST, **own) -> S3Wiring:
    """The wiring of a daemon on the store."""
    return S3Wiring(settings_for(store, **own), tuning)


@asynccontextmanager
async def run_queue_worker(store, model=None, name=None, tuning: S3Tuning = FAST, state=None, **settings):
    """The queue's runner at work; gives the runner and the model."""
    model = model or ColourEngine()
    async with open_parts(colour_tagger(model, name=name), state) as parts:
        (runner,) = wire(store, tuning=tuning, queue_url=store.url, **settings).build_queue_runners(parts)
        stop = asyncio.Event()
        running = asyncio.create_task(runner.run(stop))
        try:
            yield SimpleNamespace(runner=runner, model=model, counts=runner.worker.counts, parts=parts)
        finally:
            stop.set()
            await running


async def scan(store, state, proxy=None, model=None, tuning: S3Tuning = FAST, **own):
    """Scan the bucket as `pawtag s3 scan` does; gives the runner."""
    at = SimpleNamespace(**vars(store) | {"address": proxy.address if proxy else store.address})
    wiring = wire(at, tuning=tuning, state=state, bucket=store.bucket, **own)
    async with open_parts(colour_tagger(model or ColourEngine()), state) as parts:
        resume_point = wiring.build_resume_point(parts.database, "scan", store.bucket)
        runner = wiring.build_listing_runner(parts, (store.bucket, ""), (), resume_point)
        await runner.worker.run(asyncio.Event())
        resume_point.save()
    return runner


@asynccontextmanager
async def run_push_worker(store, state, tuning: S3Tuning = FAST, **own):
    """The bucket's runner at work: it accepts notifications and resyncs."""
    model = ColourEngine()
    async with open_parts(colour_tagger(model), state) as parts:
        runner = wire(store, tuning=tuning, state=state, bucket=store.bucket, **own).build_owed_runner(parts)
        stop = asyncio.Event()
        running = asyncio.create_task(runner.run(stop))
        await asyncio.sleep(0.2)
        try:
            yield SimpleNamespace(inbox=runner.inbox, model=model, runner=runner, parts=parts)
        finally:
            stop.set()
            await running


async def until(condition, within_s: float = 20) -> None:
    """Wait until the condition holds; it is checked in a thread."""
    async with asyncio.timeout(within_s):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.05)
