"""A bucket without a queue (pushes, sweeps), its older photos (scan, enqueue), setting it up and taking it all back."""

import asyncio
import gzip
import io
import json
import time
from types import SimpleNamespace

import boto3
import pyarrow as pa
import pytest
from pyarrow import parquet

from buckets import (  # noqa: F401
    BUCKET,
    REGION,
    address,
    event,
    put,
    scan,
    settings_for,
    sidecar,
    store,
    sweeping,
    tags,
    until,
    waiting,
)
from doubles import ColourModel, colour_tagger
from faultproxy import Answer, FaultProxy
from pawtag.__main__ import main
from pawtag.buckets import DEAD_LETTERS, STATE, mailbox_of, objects_of, pages_of, push_works
from pawtag.errors import ConfigError, TemporaryError
from pawtag.records import now
from pawtag.s3.enqueue import Teller
from pawtag.s3.listing import Checkpoint
from pawtag.stamps import Judge
from pictures import GREEN, RED, plain


def body(*keys: str) -> bytes:
    return json.dumps({"Records": [event(key) for key in keys]}).encode()


async def test_pushed_events_are_tagged(store, tmp_path):
    """Another bucket's are passed over: no event steers the daemon elsewhere."""
    async with sweeping(store, tmp_path, rescan_s=600) as at_work:
        put(store, "a.png", plain(RED))
        other = json.dumps({"Records": [event("b.png", "other")]}).encode()
        assert await at_work.inbox.accept(other) == 0
        assert await at_work.inbox.accept(body("a.png")) == 1
        await until(lambda: "pawtag:by" in tags(store, "a.png"))


async def test_what_was_answered_survives_a_kill(store, tmp_path):
    """The journal is replayed at the start; done is done."""
    put(store, "a.png", plain(RED))
    model = ColourModel()
    async with colour_tagger(model).running() as tagger:
        (work,) = push_works(settings_for(store, state=tmp_path, bucket=BUCKET), tagger)
        async with work.inbox.opened():
            await work.inbox.accept(body("a.png"))
        (again,) = push_works(settings_for(store, state=tmp_path, bucket=BUCKET), tagger)
        async with again.inbox.opened():
            (ref,) = await again.inbox.take()
            assert ref.uri == "s3://pets/a.png"
            again.inbox.finished(ref)
        async with again.inbox.opened():
            assert len(again.inbox) == 0


async def test_no_event_is_taken_while_the_inbox_is_closed(store, tmp_path):
    """The store is to post it again."""
    async with sweeping(store, tmp_path) as at_work:
        pass
    with pytest.raises(TemporaryError):
        await at_work.inbox.accept(body("a.png"))


async def test_garbage_that_is_pushed_is_kept_and_answered(store, tmp_path):
    """A store would post it for ever."""
    async with sweeping(store, tmp_path) as at_work:
        assert await at_work.inbox.accept(b"garbage") == 0
    assert "garbage" in (tmp_path / STATE / DEAD_LETTERS).read_text()


async def test_a_sweep_finds_what_no_event_told_of(store, tmp_path):
    """At the start; the next one lists, and reads no object that was not modified since."""
    put(store, "a.png", plain(RED))
    put(store, "notes.txt", b"no photo")
    async with sweeping(store, tmp_path):
        await until(lambda: "pawtag:by" in tags(store, "a.png"))
    assert tags(store, "notes.txt") == {}
    checkpoint = Checkpoint(tmp_path / STATE, "sweep", BUCKET, "", store.address)
    checkpoint.position = str(time.time_ns() + 120 * 10**9)
    checkpoint.save()
    with FaultProxy(store.address) as proxy:
        later = SimpleNamespace(**vars(store))
        async with sweeping(later, tmp_path) as at_work:
            await at_work.work.sweep.once()
    assert proxy.count("GET", ends="a.png") == 0


def denied(key: str):
    return lambda asked: Answer(403, "AccessDenied") if asked.method == "GET" and asked.path.endswith(key) else None


async def test_a_photo_that_may_not_be_read_holds_up_no_sweep(store, tmp_path):
    """Nor is it forgotten: it is tagged once it may be."""
    put(store, "sealed.png", plain(RED))
    with FaultProxy(store.address, denied("sealed.png")) as proxy:
        at = SimpleNamespace(**vars(store) | {"address": proxy.address})
        async with sweeping(at, tmp_path) as at_work:
            await until(lambda: "denied" in (at_work.work.pipeline.last_fault or ""))
            put(store, "a.png", plain(RED))
            await at_work.work.sweep.once()
            await until(lambda: "pawtag:by" in tags(store, "a.png"))
    async with sweeping(store, tmp_path):
        await until(lambda: "pawtag:by" in tags(store, "sealed.png"))


async def test_a_sweep_s_surprise_is_told_and_passes(store, tmp_path, monkeypatch):
    """A full disk, say: the next sweep comes all the same."""
    monkeypatch.setattr("pawtag.buckets.RESCAN_S", 0.5)
    put(store, "a.png", plain(RED))
    async with sweeping(store, tmp_path) as at_work:
        with monkeypatch.context() as full_disk:
            full_disk.setattr(Checkpoint, "save", lambda _: (tmp_path / "no" / "such").write_text(""))
            await until(lambda: at_work.work.pipeline.state.state == "degraded")
        await until(lambda: at_work.work.pipeline.state.state == "running")


async def test_what_is_told_of_again_while_it_is_in_hand_stays_in_the_journal(store, tmp_path):
    """Also where it is finished while the disk is written."""
    model = ColourModel()
    async with colour_tagger(model).running() as tagger:
        (work,) = push_works(settings_for(store, state=tmp_path, bucket=BUCKET), tagger)
        async with work.inbox.opened():
            await work.inbox.accept(body("a.png"))
            (ref,) = await work.inbox.take()
            again = asyncio.create_task(work.inbox.accept(body("a.png")))
            await asyncio.sleep(0)
            work.inbox.finished(ref)
            await again
        async with work.inbox.opened():
            assert len(work.inbox) == 1


async def test_a_scan_that_goes_on_begins_before_what_it_gave_up(store, tmp_path, monkeypatch):
    """It is done, or named again."""
    monkeypatch.setattr("pawtag.buckets.TRIES", 1)
    put(store, "a.png", plain(RED))
    put(store, "b.png", plain(RED))
    with FaultProxy(store.address, denied("a.png")) as proxy:
        assert (await scan(store, tmp_path, proxy)).source.given_up == 1
    assert (await scan(store, tmp_path)).pipeline.counts.tagged == 1
    assert "pawtag:by" in tags(store, "a.png")


async def test_a_scan_reads_only_what_needs_it(store, tmp_path):
    """A current stamp costs a tag read; after the end a scan that goes on finds nothing."""
    for number in range(12):
        put(store, f"{number:02}.png", plain(RED))
    put(store, "notes.txt", b"no photo")
    first = await scan(store, tmp_path / "1")
    assert (first.supply.looked_at, first.pipeline.counts.tagged) == (12, 12)
    put(store, "05.png", plain(GREEN))
    with FaultProxy(store.address) as proxy:
        second = await scan(store, tmp_path / "2", proxy)
        assert second.pipeline.counts.tagged == 1
        assert proxy.count("GET", ends=".png") <= 2  # and one look at whether a GET tells of tags
    assert tags(store, "05.png")["pawtag:species"] == "green"
    assert (await scan(store, tmp_path / "2")).supply.looked_at == 0


async def test_a_scan_passes_over_colder_classes(store, tmp_path):
    """They cost money to read; those in an archive cannot be read at all."""
    store.s3.put_object(Bucket=BUCKET, Key="cold.png", Body=plain(RED), StorageClass="STANDARD_IA")
    store.s3.put_object(Bucket=BUCKET, Key="asleep.png", Body=plain(RED), StorageClass="GLACIER")
    work = await scan(store, tmp_path)
    assert work.supply.skipped == {"STANDARD_IA": 1, "GLACIER": 1}


def enqueue(store, state, manifest=None, judge_by: str | None = None):
    settings = settings_for(store, state=state, queue_url=store.url)
    ours = colour_tagger().fingerprints
    judge = Judge(ours, now()) if judge_by is None else None
    teller = Teller(mailbox_of(settings, store.url), objects_of(settings), judge, ours.by)
    pages = pages_of(settings, (BUCKET, ""), (), manifest)
    return teller.tell(pages, Checkpoint(state, "enqueue", str(manifest)), lambda *_: None)


async def test_enqueue_tells_the_queue_of_what_needs_it(store, tmp_path):
    """From the listing; what is tagged already is not told of."""
    for number in range(25):
        put(store, f"{number:02} ü+.png", plain(RED))
    await scan(store, tmp_path / "scan")
    put(store, "03 ü+.png", plain(GREEN))
    store.sqs.purge_queue(QueueUrl=store.url)
    count = await asyncio.to_thread(enqueue, store, tmp_path)
    assert (count["sent"], count["current"]) == (1, 24)
    assert waiting(store) == 1


async def test_enqueue_leaves_to_the_daemons_what_it_may_not_look_at(store, tmp_path):
    """One object does not hold up a million."""
    for key in ("a.png", "b.png"):
        put(store, key, plain(RED))
    store.sqs.purge_queue(QueueUrl=store.url)
    with FaultProxy(store.address, denied("a.png")) as proxy:
        at = SimpleNamespace(**vars(store) | {"address": proxy.address})
        count = await asyncio.to_thread(enqueue, at, tmp_path)
    assert (count["sent"], count["unseen"]) == (2, 1)


@pytest.mark.parametrize("kind", ["CSV", "Parquet"])
def test_enqueue_reads_an_inventory(store, tmp_path, kind):
    """CSV with encoded keys, or Parquet with plain ones; versions that are past are passed over."""
    put(store, "a b+ü.png", plain(RED))
    put(store, "b.png", plain(RED))
    if kind == "CSV":
        rows = '"pets","a+b%2B%C3%BC.png","true","false","9","x"\n"pets","b.png","false","false","9","y"\n'
        data, schema = gzip.compress(rows.encode()), "Bucket, Key, IsLatest, IsDeleteMarker, Size, ETag"
    else:
        columns = {"bucket": ["pets", "pets"], "key": ["a b+ü.png", "b.png"], "is_latest": [True, False]}
        table, file = pa.table(columns | {"size": [9, 9], "e_tag": ["x", "y"]}), io.BytesIO()
        parquet.write_table(table, file)
        data, schema = file.getvalue(), "message s3.inventory"
    put(store, "inventory/data/1", data)
    manifest = {
        "sourceBucket": BUCKET,
        "fileFormat": kind,
        "fileSchema": schema,
        "files": [{"key": "inventory/data/1"}],
    }
    put(store, "inventory/manifest.json", json.dumps(manifest).encode())
    store.sqs.purge_queue(QueueUrl=store.url)
    count = enqueue(store, tmp_path, "s3://pets/inventory/manifest.json")
    assert (count["sent"], count["not-the-newest"]) == (1, 1)
    (message,) = store.sqs.receive_message(QueueUrl=store.url)["Messages"]
    assert "a+b%2B%C3%BC.png" in message["Body"]


@pytest.fixture
def surroundings(store, tmp_path, monkeypatch):
    """A user's, for the command line."""
    monkeypatch.chdir(tmp_path)
    own = {"ENDPOINT_URL": store.address, "REGION": "us-east-1", "ADDRESSING": "path"}
    for name, value in own.items():
        monkeypatch.setenv(f"PAWTAG_S3__{name}", value)
    monkeypatch.setenv("PAWTAG_STATE__DIR", str(tmp_path))
    return store


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


def test_an_inventory_of_another_bucket_is_refused(surroundings):
    """It is named."""
    manifest = {"sourceBucket": "other", "fileFormat": "CSV", "fileSchema": "Bucket, Key", "files": []}
    put(surroundings, "manifest.json", json.dumps(manifest).encode())
    with pytest.raises(ConfigError, match="other"):
        pages_of(settings_for(surroundings), (BUCKET, ""), (), f"s3://{BUCKET}/manifest.json")


def test_an_address_that_is_none_is_named(surroundings, capsys):
    """Wrong usage."""
    assert main(["s3", "scan", "pets"]) == 2
    assert "s3://BUCKET" in capsys.readouterr().err
    with pytest.raises(ConfigError):
        pages_of(settings_for(surroundings), (BUCKET, ""), (), "nonsense")


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
