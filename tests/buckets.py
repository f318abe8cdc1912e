"""A bucket and a queue on moto's server, over a socket, and a daemon's part that works on them."""

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

from doubles import ColourModel, colour_tagger
from pawtag.app.s3_wiring import build_listing_runner, build_push_runners, build_queue_runners
from pawtag.config import Settings
from pawtag.state import ResumePoint

BUCKET, REGION = "pets", "us-east-1"
ODD_KEYS = ["a b+c.png", "100%.png", "grün/猫 1.png", "quo'te\".png", "plus++%2B.png", "?#&=:@,;.png", "1/2/3"]


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
    monkeypatch.setattr("pawtag.s3.in_flight.RECEIVE_AGAIN_S", 1.0)
    how = {"endpoint_url": address, "region_name": REGION}
    s3, sqs = boto3.client("s3", config=Config(s3={"addressing_style": "path"}), **how), boto3.client("sqs", **how)
    urllib.request.urlopen(urllib.request.Request(f"{address}/moto-api/reset", method="POST")).read()
    s3.create_bucket(Bucket=BUCKET)
    url = sqs.create_queue(QueueName="pawtag")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rule = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [rule]})
    return SimpleNamespace(s3=s3, sqs=sqs, url=url, address=address, bucket=BUCKET)


@pytest.fixture
def surroundings(store, tmp_path, monkeypatch):
    """A user's, for the command line."""
    monkeypatch.chdir(tmp_path)
    own = {"ENDPOINT_URL": store.address, "REGION": REGION, "ADDRESSING": "path"}
    for name, value in own.items():
        monkeypatch.setenv(f"PAWTAG_S3__{name}", value)
    monkeypatch.setenv("PAWTAG_STATE__DIR", str(tmp_path))
    return store


def behind(store, proxy):
    """The store as the daemon sees it: through the proxy."""
    url = store.url.replace(store.address, proxy.address)
    return SimpleNamespace(**vars(store) | {"address": proxy.address, "url": url})


def surroundings_of(store, home) -> dict[str, str]:
    """The environment of a daemon that works off the store's queue."""
    s3 = {"ENDPOINT_URL": store.address, "REGION": REGION, "ADDRESSING": "path", "BUCKET": store.bucket}
    s3 |= {"QUEUE_URL": store.url}
    return {f"PAWTAG_S3__{name}": value for name, value in s3.items()} | {"PAWTAG_STATE__DIR": str(home / "state")}


def put(store, key: str, data: bytes, **tags: str) -> None:
    tagging = {"Tagging": urlencode(tags, quote_via=quote)} if tags else {}
    store.s3.put_object(Bucket=store.bucket, Key=key, Body=data, **tagging)


def tags(store, key: str) -> dict[str, str]:
    found = store.s3.get_object_tagging(Bucket=store.bucket, Key=key)
    return {tag["Key"]: tag["Value"] for tag in found.get("TagSet") or []}


def sidecar(store, key: str) -> dict:
    return json.loads(store.s3.get_object(Bucket=store.bucket, Key=f"{key}.json")["Body"].read())


def count_messages(store) -> int:
    found = store.sqs.get_queue_attributes(QueueUrl=store.url, AttributeNames=["All"])["Attributes"]
    return sum(int(found[name]) for name in found if name.startswith("ApproximateNumberOfMessages"))


def event(key: str, bucket: str = BUCKET) -> dict:
    found = {"bucket": {"name": bucket}, "object": {"key": key, "size": 1, "eTag": "stale"}}
    return {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": found}


def settings_for(store, *, state=None, max_bytes=None, **own) -> Settings:
    s3 = {"endpoint_url": store.address, "region": REGION, "addressing": "path"} | own
    others = {"state": {"dir": state}} if state else {}
    others |= {"limits": {"max_file_bytes": max_bytes}} if max_bytes else {}
    return Settings(s3=s3, **others)


@asynccontextmanager
async def working(store, model=None, name=None, **settings):
    """The queue's part of the daemon, at work; gives the work and the model."""
    model = model or ColourModel()
    async with colour_tagger(model, name=name).run() as tagger:
        (work,) = build_queue_runners(settings_for(store, queue_url=store.url, **settings), tagger)
        stop = asyncio.Event()
        running = asyncio.create_task(work.run(stop))
        try:
            yield SimpleNamespace(work=work, model=model, counts=work.worker.counts)
        finally:
            stop.set()
            await running


async def scan(store, state, proxy=None, model=None, **own):
    """Bring the bucket up to date, as `pawtag s3 scan` does; gives the work."""
    at = SimpleNamespace(**vars(store) | {"address": proxy.address if proxy else store.address})
    settings = settings_for(at, state=state, bucket=store.bucket, **own)
    checkpoint = ResumePoint(state, "scan", store.bucket)
    async with colour_tagger(model or ColourModel()).run() as tagger:
        work = build_listing_runner(settings, tagger, (store.bucket, ""), (), checkpoint)
        await work.worker.run(asyncio.Event())
    checkpoint.save()
    return work


@asynccontextmanager
async def sweeping(store, state, **own):
    """The bucket's part of the daemon, at work."""
    model = ColourModel()
    async with colour_tagger(model).run() as tagger:
        (work,) = build_push_runners(settings_for(store, state=state, bucket=store.bucket, **own), tagger)
        stop = asyncio.Event()
        running = asyncio.create_task(work.run(stop))
        await asyncio.sleep(0.2)
        try:
            yield SimpleNamespace(inbox=work.inbox, model=model, work=work)
        finally:
            stop.set()
            await running


async def until(condition, within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.05)
