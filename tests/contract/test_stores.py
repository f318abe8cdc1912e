"""One suite over every store: what pawtag promises to the objects in it."""

import asyncio
import json
import os
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from pawtag.__main__ import main
from pawtag.domain.errors import GoneError, TemporaryError
from pawtag.domain.records import ModelInfo, PhotoRef, TagRecord
from pawtag.s3.address import format_uri
from support.buckets import (
    ODD_KEYS,
    REGION,
    count_messages,
    put,
    run_push_worker,
    run_queue_worker,
    scan,
    sidecar,
    tags,
    until,
    wire,
)
from support.pictures import GREEN, RED, plain
from support.process import daemon
from support.records import record_for
from support.stores import CEPH, QUEUED, SEAWEEDFS, client

OTHERS = {"album": "summer 2026", "owner": "me"}
NINE = {f"t{number}": "x" for number in range(9)}


def objects(store, **own):
    return wire(store, **own).build_objects()


def look(found, ref):
    with found.open_blocking(ref) as photo:
        return photo.look()


def record(model_id: str) -> TagRecord:
    return record_for(PhotoRef("s3://b/a.png", 1, 0), model=ModelInfo(id=model_id))


async def test_S02_every_photo_carries_its_tags_whatever_its_key(any_store, tmp_path):
    """And all tags of its own; a second look makes and reads nothing."""
    for number, key in enumerate(ODD_KEYS):
        put(any_store, key, plain(RED), **(OTHERS if number % 2 else {}))
    work = await scan(any_store, tmp_path / "1")
    assert work.worker.counts.tagged == len(ODD_KEYS)
    for number, key in enumerate(ODD_KEYS):
        found = tags(any_store, key)
        assert found["pawtag:species"] == "red"
        assert {name: value for name, value in found.items() if not name.startswith("pawtag:")} == (
            OTHERS if number % 2 else {}
        )
    assert (await scan(any_store, tmp_path / "2")).worker.counts.tagged == 0


async def test_S06_where_tags_have_no_room_a_sidecar_object_is_written_and_renewed(any_store, tmp_path):
    """On a condition that this store keeps; the tags of others stay as they were."""
    put(any_store, "a.png", plain(RED), **NINE)
    await scan(any_store, tmp_path / "1")
    assert sidecar(any_store, "a.png")["tags"][0]["label"] == "red"
    put(any_store, "a.png", plain(GREEN), **NINE)
    await scan(any_store, tmp_path / "2")
    assert sidecar(any_store, "a.png")["tags"][0]["label"] == "green"
    assert tags(any_store, "a.png") == NINE


async def test_S07_tags_that_the_store_refuses_stay(any_store, tmp_path):
    """SeaweedFS takes at the upload what it refuses later: then the record is an object."""
    try:
        put(any_store, "a.png", plain(RED), mood="😺, purring")
    except ClientError:
        pytest.skip(f"{any_store.name} takes no such tag at all")
    await scan(any_store, tmp_path)
    found = tags(any_store, "a.png")
    assert found["mood"] == "😺, purring"
    assert "pawtag:species" in found or sidecar(any_store, "a.png")["status"] == "tagged"


async def test_the_second_writer_overwrites_nothing(any_store):
    """A record that was written meanwhile, or an object of somebody else, stays."""
    put(any_store, "a.png", plain(RED))
    sidecars = objects(any_store).sidecars
    ref = PhotoRef(format_uri(any_store.bucket, "a.png"), 1, 0, "e")
    free = sidecars.find(ref)
    sidecars.write(free, record("first"))
    with pytest.raises(TemporaryError):
        sidecars.write(free, record("second"))
    seen = sidecars.find(ref)
    sidecars.write(seen, record("third"))
    with pytest.raises(TemporaryError):
        sidecars.write(seen, record("fourth"))
    assert sidecar(any_store, "a.png")["model"]["id"] == "third"
    last = sidecars.find(ref)
    any_store.s3.delete_object(Bucket=any_store.bucket, Key="a.png.json")
    with pytest.raises(TemporaryError):  # the photo is not gone
        sidecars.write(last, record("fifth"))


async def test_S03_copied_tags_are_no_stamp_for_another_content(any_store, tmp_path):
    """The stamp names the content."""
    put(any_store, "a.png", plain(RED))
    await scan(any_store, tmp_path / "1")
    put(any_store, "a.png", plain(GREEN), **tags(any_store, "a.png"))
    await scan(any_store, tmp_path / "2")
    assert tags(any_store, "a.png")["pawtag:species"] == "green"


async def test_S17_the_newest_version_is_tagged(any_store, tmp_path):
    """The tags of an older version stay, and what is deleted is gone, whichever version an event names."""
    any_store.s3.put_bucket_versioning(Bucket=any_store.bucket, VersioningConfiguration={"Status": "Enabled"})
    put(any_store, "a.png", plain(RED), **OTHERS)
    put(any_store, "a.png", plain(GREEN))
    versions = any_store.s3.list_object_versions(Bucket=any_store.bucket)["Versions"]
    older = next(one["VersionId"] for one in versions if not one["IsLatest"])
    await scan(any_store, tmp_path)
    assert tags(any_store, "a.png")["pawtag:species"] == "green"
    kept = any_store.s3.get_object_tagging(Bucket=any_store.bucket, Key="a.png", VersionId=older)
    assert {tag["Key"]: tag["Value"] for tag in kept["TagSet"]} == OTHERS
    any_store.s3.delete_object(Bucket=any_store.bucket, Key="a.png")
    ref = PhotoRef(format_uri(any_store.bucket, "a.png"), version_id=older)
    with pytest.raises(GoneError):
        await asyncio.to_thread(look, objects(any_store), ref)
    listed = replace(ref, etag="listed-before", version_id=None)
    with pytest.raises(GoneError):
        await asyncio.to_thread(look, objects(any_store), listed)


async def test_S13_an_object_that_is_no_photo_is_failed(any_store, tmp_path):
    """Nothing and rubbish get their error once; a folder's marker and other files get nothing."""
    put(any_store, "empty.png", b"")
    put(any_store, "broken.png", b"no picture")
    put(any_store, "notes.txt", b"no photo")
    put(any_store, "folder/", b"")
    await scan(any_store, tmp_path / "1")
    assert tags(any_store, "empty.png")["pawtag:error"] == "empty"
    assert tags(any_store, "broken.png")["pawtag:error"] == "not-an-image"
    assert tags(any_store, "notes.txt") == {}
    assert (await scan(any_store, tmp_path / "2")).worker.counts.failed == 0


@pytest.fixture
def command(any_store, tmp_path, monkeypatch):
    """pawtag's command line, for that store."""
    for name, value in {"ENDPOINT_URL": any_store.address, "REGION": REGION, "ADDRESSING": "path"}.items():
        monkeypatch.setenv(f"PAWTAG_S3__{name}", value)
    monkeypatch.setenv("PAWTAG_STATE__DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: main([*arguments])


def test_clean_removes_exactly_what_pawtag_wrote(any_store, tmp_path, command):
    """Every object is as it was before."""
    put(any_store, "a.png", plain(RED), **OTHERS)
    put(any_store, "b.png", plain(RED))
    put(any_store, "c.png", plain(RED), **NINE)
    put(any_store, "d.png.json", json.dumps({"title": "Takeout"}).encode())
    before = {key: tags(any_store, key) for key in ("a.png", "b.png", "c.png", "d.png.json")}
    asyncio.run(scan(any_store, tmp_path))
    assert command("clean", f"s3://{any_store.bucket}") == 0
    listed = any_store.s3.list_objects_v2(Bucket=any_store.bucket)["Contents"]
    assert {one["Key"]: tags(any_store, one["Key"]) for one in listed} == before


def test_S12_a_missing_bucket_is_named(command, capsys):
    """Not taken for an empty one."""
    assert command("s3", "scan", "s3://pets-absent", "--dry-run") == 1
    assert "pets-absent" in capsys.readouterr().err


def test_S12_a_refused_access_key_is_named(any_store, command, monkeypatch, capsys):
    """Emulators accept any."""
    if any_store.name not in (SEAWEEDFS, CEPH):
        pytest.skip(f"{any_store.name} accepts any key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert command("s3", "scan", f"s3://{any_store.bucket}", "--dry-run") == 1
    assert "not accepted" in capsys.readouterr().err


def test_check_reports_nothing_that_is_present_as_missing(any_store, command, capsys):
    """And changes nothing."""
    put(any_store, "a.png", plain(RED))
    assert command("s3", "check", f"s3://{any_store.bucket}") == 0
    assert "WRONG" not in capsys.readouterr().out
    assert len(any_store.s3.list_objects_v2(Bucket=any_store.bucket)["Contents"]) == 1


def test_setup_names_the_transports_of_a_store_without_queues(any_store, command, capsys):
    """And makes nothing; SeaweedFS has no topics either."""
    if any_store.name in QUEUED:
        pytest.skip(f"{any_store.name} has queues")
    uri = f"s3://{any_store.bucket}"
    assert command("s3", "setup", uri) == command("s3", "setup", uri, "--remove") == 2
    assert "--push" in capsys.readouterr().err
    if any_store.name == SEAWEEDFS:
        assert command("s3", "setup", uri, "--push", "http://127.0.0.1:1/notifications/s3?key=k") == 2
        assert "no topics" in capsys.readouterr().err


def test_setup_creates_no_queue_for_a_missing_bucket(any_store, command, capsys):
    """It names it."""
    assert command("s3", "setup", "s3://pets-absent") == 2
    assert "pets-absent" in capsys.readouterr().err
    if any_store.name in QUEUED:
        assert queues(any_store, "pawtag-pets-absent") == []


def queues(store, prefix: str) -> list[str]:
    return store.sqs.list_queues(QueueNamePrefix=prefix).get("QueueUrls", [])


@pytest.fixture(params=["s3", "eventbridge", "sns", "sns, raw"])
def queue(request, any_store, command):
    """What `pawtag s3 setup` makes, taken back at the end; or by a topic, which a person set up."""
    if any_store.name not in QUEUED:
        pytest.skip(f"{any_store.name} has no queues")
    uri, is_sns = f"s3://{any_store.bucket}", request.param.startswith("sns")
    assert command("s3", "setup", uri, "--via", "s3" if is_sns else request.param) == 0
    any_store.url = any_store.sqs.get_queue_url(QueueName=f"pawtag-{any_store.bucket}")["QueueUrl"]
    if is_sns:
        notify_by_topic(any_store, is_raw="raw" in request.param)
    yield any_store
    assert command("s3", "setup", uri, "--remove") == 0
    assert queues(any_store, f"pawtag-{any_store.bucket}") == []


def notify_by_topic(store, *, is_raw: bool) -> None:
    """The bucket tells a topic, and that the queue."""
    sns, asked = client("sns", store.address), {"QueueUrl": store.url, "AttributeNames": ["QueueArn"]}
    arn = store.sqs.get_queue_attributes(**asked)["Attributes"]["QueueArn"]
    topic = sns.create_topic(Name=f"pawtag-{store.bucket}")["TopicArn"]
    attributes = {"RawMessageDelivery": str(is_raw).lower()}
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes)
    notification = {"TopicConfigurations": [{"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}]}
    store.s3.put_bucket_notification_configuration(Bucket=store.bucket, NotificationConfiguration=notification)


async def test_S01_a_queue_delivers_every_upload(queue):
    """Whoever tells it, and in whose words; nothing is left in it."""
    async with run_queue_worker(queue, bucket=queue.bucket):
        for key in ODD_KEYS:
            put(queue, key, plain(RED), **OTHERS)
        await until(lambda: all("pawtag:fingerprint" in tags(queue, key) for key in ODD_KEYS))
        await until(lambda: count_messages(queue) == 0)
    assert all(tags(queue, key).items() >= OTHERS.items() for key in ODD_KEYS)


async def test_S09_an_expired_receipt_is_no_error(any_store):
    """Somebody else has the message, or it is gone."""
    if any_store.name not in QUEUED:
        pytest.skip(f"{any_store.name} has no queues")
    url = any_store.sqs.create_queue(QueueName=any_store.bucket)["QueueUrl"]
    queue = wire(any_store).build_queue(url, None)
    queue.send(["one"])
    (message,) = queue.receive(1)
    assert queue.delete([message.receipt]) == queue.delete([message.receipt]) == []
    queue.set_visibility(message.receipt, 10)
    assert queue.read_status() == (0, False)
    any_store.sqs.delete_queue(QueueUrl=url)


async def test_S15_a_resync_finds_every_upload(any_store, tmp_path):
    """Where nobody tells of them."""
    async with run_push_worker(any_store, tmp_path) as at_work:
        for key in ODD_KEYS:
            put(any_store, key, plain(RED), **OTHERS)
        await at_work.runner.resync.run_once()
        await until(lambda: all("pawtag:fingerprint" in tags(any_store, key) for key in ODD_KEYS))
    assert all(tags(any_store, key).items() >= OTHERS.items() for key in ODD_KEYS)


def daemon_environment(store, tmp_path) -> dict[str, str]:
    """A daemon's that hears of uploads by pushes alone."""
    own = {"BUCKET": store.bucket, "ENDPOINT_URL": store.address, "REGION": REGION, "ADDRESSING": "path"}
    own |= {"RESCAN_S": "3600"}
    others = {"SERVER__API_KEY": "secret", "STATE__DIR": str(tmp_path), "MODEL__ID": "embedded"}
    return {f"PAWTAG_S3__{name}": value for name, value in own.items()} | {
        f"PAWTAG_{name}": value for name, value in others.items()
    }


@pytest.mark.timeout(120)
def test_S01_the_posts_of_the_seaweedfs_filer_deliver_every_upload(any_store, tmp_path):
    """SeaweedFS has no topics; its filer posts, from its start on, to one address."""
    port = os.environ.get("PAWTAG_STORE_SEAWEEDFS_POSTS_TO")
    if any_store.name != SEAWEEDFS or port is None:
        pytest.skip("no SeaweedFS that posts is named (PAWTAG_STORE_SEAWEEDFS_POSTS_TO=PORT, with the key 'secret')")
    with daemon(tmp_path, "--port", port, **daemon_environment(any_store, tmp_path)):
        for key in ODD_KEYS:
            put(any_store, key, plain(RED), **OTHERS)
        asyncio.run(until(lambda: all("pawtag:fingerprint" in tags(any_store, key) for key in ODD_KEYS), 60))
    assert all(tags(any_store, key).items() >= OTHERS.items() for key in ODD_KEYS)


@pytest.mark.timeout(120)  # Ceph's first event of a new topic takes up to half a minute
def test_S01_the_pushes_of_a_store_deliver_every_upload(any_store, command, tmp_path):
    """To the daemon's own address, with its key; `--remove` takes the topic back."""
    if any_store.name != CEPH:
        pytest.skip(f"{any_store.name} has no topics that push")
    with daemon(tmp_path, **daemon_environment(any_store, tmp_path)) as running:
        push = ["s3", "setup", f"s3://{any_store.bucket}", "--push", f"{running.address}/notifications/s3?key=secret"]
        assert command(*push) == 0
        for key in ODD_KEYS:
            put(any_store, key, plain(RED), **OTHERS)
        asyncio.run(until(lambda: all("pawtag:fingerprint" in tags(any_store, key) for key in ODD_KEYS), 60))
        assert command(*push, "--remove") == 0
    assert all(tags(any_store, key).items() >= OTHERS.items() for key in ODD_KEYS)
    rules = any_store.s3.get_bucket_notification_configuration(Bucket=any_store.bucket)
    assert "TopicConfigurations" not in rules
