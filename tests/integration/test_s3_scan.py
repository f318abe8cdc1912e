"""A bucket's older photos: scanned from one machine, or sent to the queue by enqueue."""

import asyncio
import gzip
import io
import json
from contextlib import closing

import pyarrow as pa
import pytest
from pyarrow import parquet

from pawtag.__main__ import main
from pawtag.clock import utc_timestamp
from pawtag.domain.errors import ConfigError, TemporaryError
from pawtag.domain.freshness import FreshnessPolicy
from pawtag.s3.cost_estimate import CostEstimate
from pawtag.s3.enqueue import Enqueuer
from pawtag.s3.tuning import S3Tuning
from pawtag.state.database import StateDatabase
from pawtag.state.resume_point import ResumePoint
from support.buckets import BUCKET, behind, count_messages, put, scan, tags, until, wire
from support.doubles import COLOURS, SlowEngine, colour_tagger
from support.fault_proxy import Answer, FaultProxy, deny, once
from support.pictures import GREEN, RED, plain


async def test_a_resumed_scan_begins_before_the_first_failure(store, tmp_path, monkeypatch):
    """It is done, or named again."""
    put(store, "a.png", plain(RED))
    put(store, "b.png", plain(RED))
    with FaultProxy(store.address, deny("a.png")) as proxy:
        assert (await scan(store, tmp_path, proxy, tuning=S3Tuning(scan_attempts=1))).source.given_up == [
            "s3://pets/a.png"
        ]
    assert (await scan(store, tmp_path)).worker.counts.tagged == 1
    assert "pawtag:fingerprint" in tags(store, "a.png")


async def test_S15_a_scan_reads_only_what_needs_it(store, tmp_path):
    """A current stamp costs a tag read; after the end a scan that goes on finds nothing."""
    for number in range(12):
        put(store, f"{number:02}.png", plain(RED))
    put(store, "notes.txt", b"no photo")
    first = await scan(store, tmp_path / "1")
    assert (first.feed.finished, first.worker.counts.tagged) == (12, 12)
    put(store, "05.png", plain(GREEN))
    with FaultProxy(store.address) as proxy:
        second = await scan(store, tmp_path / "2", proxy)
        assert second.worker.counts.tagged == 1
        assert proxy.count("GET", ends=".png") <= 2  # and one look at whether a GET tells of tags
    assert tags(store, "05.png")["pawtag:species"] == "green"
    assert (await scan(store, tmp_path / "2")).feed.finished == 0


async def test_S13_a_scan_skips_archived_classes(store, tmp_path):
    """They cost money to read; those in an archive cannot be read at all."""
    store.s3.put_object(Bucket=BUCKET, Key="cold.png", Body=plain(RED), StorageClass="STANDARD_IA")
    store.s3.put_object(Bucket=BUCKET, Key="asleep.png", Body=plain(RED), StorageClass="GLACIER")
    work = await scan(store, tmp_path)
    assert work.feed.skipped == {"STANDARD_IA": 1, "GLACIER": 1}


def enqueue(store, state, manifest=None):
    wiring = wire(store, state=state, queue_url=store.url)
    ours = colour_tagger().identity
    policy = FreshnessPolicy(ours, COLOURS, utc_timestamp())
    with closing(StateDatabase(state)) as database:
        enqueuer = Enqueuer(wiring.build_queue(store.url, database), wiring.build_objects(), policy, ours.fingerprint)
        pages = wiring.open_pages((BUCKET, ""), (), manifest)
        return enqueuer.enqueue(pages, ResumePoint(database, "enqueue", str(manifest)), lambda *_: None)


async def test_S15_enqueue_sends_what_needs_tagging(store, tmp_path):
    """From the listing; what is current is not sent."""
    for number in range(25):
        put(store, f"{number:02} ü+.png", plain(RED))
    await scan(store, tmp_path / "scan")
    put(store, "03 ü+.png", plain(GREEN))
    store.sqs.purge_queue(QueueUrl=store.url)
    count = await asyncio.to_thread(enqueue, store, tmp_path)
    assert (count["sent"], count["current"]) == (1, 24)
    assert count_messages(store) == 1


async def test_enqueue_sends_objects_that_it_may_not_read(store, tmp_path):
    """One object does not hold up a million."""
    for key in ("a.png", "b.png"):
        put(store, key, plain(RED))
    store.sqs.purge_queue(QueueUrl=store.url)
    with FaultProxy(store.address, deny("a.png")) as proxy:
        at = behind(store, proxy)
        count = await asyncio.to_thread(enqueue, at, tmp_path)
    assert (count["sent"], count["unchecked"]) == (2, 1)


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


def test_an_inventory_of_another_bucket_is_refused(cli_store):
    """It is named."""
    manifest = {"sourceBucket": "other", "fileFormat": "CSV", "fileSchema": "Bucket, Key", "files": []}
    put(cli_store, "manifest.json", json.dumps(manifest).encode())
    with pytest.raises(ConfigError, match="other"):
        wire(cli_store).open_pages((BUCKET, ""), (), f"s3://{BUCKET}/manifest.json")


def test_an_invalid_address_is_named(cli_store, capsys):
    """Wrong usage."""
    assert main(["s3", "scan", "pets"]) == 2
    assert "s3://BUCKET" in capsys.readouterr().err
    with pytest.raises(ConfigError):
        wire(cli_store).open_pages((BUCKET, ""), (), "nonsense")


def is_listing(asked) -> bool:
    return asked.method == "GET" and "list-type" in asked.query


def test_scan_from_the_command_line(cli_store, capsys):
    """It tags, says what it did, and finds nothing more to do; `--dry-run` says what that costs."""
    put(cli_store, "a.png", plain(RED))
    put(cli_store, "notes.txt", b"no photo")
    place = f"s3://{BUCKET}"
    assert main(["s3", "scan", place, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "1 photos of 2 objects" in said
    assert "1 objects are no photos" in said
    assert "at most 1 LIST requests, 6 GET requests, 1 PUT requests" in said
    assert tags(cli_store, "a.png") == {}
    for tagged in (1, 0):
        assert main(["s3", "scan", place, "--model", "embedded"]) == 0
        assert f"1 photos: 0 tagged, {tagged} without a pet, 0 failed" in capsys.readouterr().out
    assert tags(cli_store, "a.png")["pawtag:species"] == "none"


@pytest.mark.parametrize("action", ["scan", "enqueue"])
def test_a_scan_without_the_wanted_model_does_not_start(cli_store, monkeypatch, capsys, action):
    """Each tag costs, and would have to be written again."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PAWTAG_S3__QUEUE_URL", cli_store.url)
    assert main(["s3", action, f"s3://{BUCKET}", "--model", "openai/not-here"]) == 2
    assert "pawtag model pull" in capsys.readouterr().err


def test_enqueue_from_the_command_line(cli_store, monkeypatch, capsys):
    """An event for what needs one; without a queue it asks which."""
    put(cli_store, "a.png", plain(RED))
    cli_store.sqs.purge_queue(QueueUrl=cli_store.url)
    command = ["s3", "enqueue", f"s3://{BUCKET}", "--model", "embedded"]
    assert main(command) == 2
    assert "--queue-url" in capsys.readouterr().err
    monkeypatch.setenv("PAWTAG_S3__QUEUE_URL", cli_store.url)
    assert main(command) == 0
    assert "1 messages were sent, 0 photos are current" in capsys.readouterr().out
    assert count_messages(cli_store) == 1


def test_S15_enqueue_resumes_after_what_it_sent(cli_store, monkeypatch, capsys):
    """Nothing is sent twice, and nothing passed over, where the queue fails on the way."""
    tuning = S3Tuning(page_keys=2, client_attempts=0)
    for number in range(6):
        put(cli_store, f"{number}.png", plain(RED))
    cli_store.sqs.purge_queue(QueueUrl=cli_store.url)
    command = ["s3", "enqueue", f"s3://{BUCKET}", "--model", "embedded"]
    is_sending = lambda asked: asked.operation == "SendMessageBatch"  # noqa: E731
    second = lambda asked: is_sending(asked) and sum(map(is_sending, proxy.asked)) == 2  # noqa: E731
    with FaultProxy(cli_store.address) as proxy:
        proxy.fault = once(second, Answer(503, "ServiceUnavailable"))
        monkeypatch.setenv("PAWTAG_S3__ENDPOINT_URL", proxy.address)
        monkeypatch.setenv("PAWTAG_S3__QUEUE_URL", cli_store.url.replace(cli_store.address, proxy.address))
        assert main(command, s3_tuning=tuning) == 1
        assert count_messages(cli_store) == 2
        assert main(command, s3_tuning=tuning) == 0
    said = capsys.readouterr().out
    assert "resuming after '1.png'" in said
    assert "4 messages were sent" in said
    assert count_messages(cli_store) == 6


def test_S12_a_scan_of_a_missing_bucket_ends_in_one_sentence(cli_store, capsys):
    """Not in a traceback."""
    assert main(["s3", "scan", "s3://pets-absent", "--model", "embedded"]) == 1
    assert "The bucket pets-absent: no such bucket" in capsys.readouterr().err


async def test_S11_a_scan_waits_for_a_store_that_is_unavailable(store, tmp_path, monkeypatch):
    """And goes on behind what it has listed; a store that stays away ends it."""
    tuning = S3Tuning(transient_delay_s=0.1, client_attempts=0, page_keys=2)
    for number in range(5):
        put(store, f"{number}.png", plain(RED))
    away = lambda asked: is_listing(asked) and sum(map(is_listing, proxy.asked)) == 2  # noqa: E731
    with FaultProxy(store.address) as proxy:
        proxy.fault = once(away, Answer(503, "SlowDown"), 2)
        work = await scan(store, tmp_path, proxy, tuning=tuning)
        assert work.worker.counts.tagged == 5
        proxy.fault = once(is_listing, Answer(503, "SlowDown"), 99)
        with pytest.raises(TemporaryError, match="SlowDown"):
            await scan(store, tmp_path / "2", proxy, tuning=tuning)


async def test_S15_an_interrupted_scan_resumes_after_what_is_done(store, tmp_path, monkeypatch):
    """It lists no page again that was done, and passes over none that was not."""
    tuning = S3Tuning(page_keys=5, save_interval_s=0.0)
    for number in range(40):
        put(store, f"{number:02}.png", plain(RED))
    ended = asyncio.create_task(scan(store, tmp_path, model=SlowEngine(0.1), tuning=tuning, concurrency=2))
    await until(lambda: "pawtag:fingerprint" in tags(store, "11.png"))
    ended.cancel()
    await asyncio.gather(ended, return_exceptions=True)
    work = await scan(store, tmp_path, tuning=tuning)
    assert 20 < work.feed.finished <= 35
    assert all("pawtag:fingerprint" in tags(store, f"{number:02}.png") for number in range(40))


async def test_a_scan_in_which_every_photo_fails_ends(store, tmp_path, monkeypatch):
    """With what is missing; it has finished nothing."""
    for number in range(60):
        put(store, f"{number:02}.png", plain(RED))
    with FaultProxy(store.address, deny(".png")) as proxy:
        async with asyncio.timeout(20):
            work = await scan(store, tmp_path, proxy)
    assert len(work.source.given_up) >= 50
    assert "s3:GetObject" in work.worker.last_error
    with closing(StateDatabase(tmp_path)) as database:
        assert ResumePoint(database, "scan", BUCKET).position == ""


def test_a_finished_scan_starts_at_the_first_key(cli_store, monkeypatch, capsys):
    """Also where a photo could not be finished: one that can never be read does not stop what came after."""
    tuning = S3Tuning(scan_attempts=1, page_keys=1)
    command = ["s3", "scan", f"s3://{BUCKET}", "--model", "embedded"]
    put(cli_store, "b.png", plain(RED))
    with FaultProxy(cli_store.address, deny("b.png")) as proxy:
        monkeypatch.setenv("PAWTAG_S3__ENDPOINT_URL", proxy.address)
        assert main(command, s3_tuning=tuning) == 1
        assert "1 photos could not be finished" in capsys.readouterr().err
        put(cli_store, "a.png", plain(RED))
        assert main(command, s3_tuning=tuning) == 1
    assert "resuming" not in capsys.readouterr().out
    assert "pawtag:fingerprint" in tags(cli_store, "a.png")


def test_an_interrupted_scan_resumes_unless_restart_is_given(cli_store, monkeypatch, capsys):
    """It says where, and as of when."""
    tuning = S3Tuning(transient_delay_s=0.01, client_attempts=0, page_keys=1)
    put(cli_store, "a.png", plain(RED))
    put(cli_store, "b.png", plain(RED))
    command = ["s3", "scan", f"s3://{BUCKET}", "--model", "embedded"]
    later = lambda asked: is_listing(asked) and ("token" in asked.query or "start-after" in asked.query)  # noqa: E731
    with FaultProxy(cli_store.address, once(later, Answer(503, "SlowDown"), 99)) as proxy:
        monkeypatch.setenv("PAWTAG_S3__ENDPOINT_URL", proxy.address)
        assert main(command, s3_tuning=tuning) == 1
        assert main(command, s3_tuning=tuning) == 1
        assert "resuming after 'a.png', saved at 20" in capsys.readouterr().out
        proxy.fault = lambda _: None
        assert main(command, s3_tuning=tuning) == 0
        assert "1 photos:" in capsys.readouterr().out
        assert main([*command, "--restart"], s3_tuning=tuning) == 0
    assert "2 photos:" in capsys.readouterr().out


async def test_S12_a_scan_uses_renewed_credentials_in_its_listing(store, tmp_path, monkeypatch):
    """Those that last an hour expire in the middle of it."""
    tuning = S3Tuning(credentials_interval_s=0.0)
    put(store, "a.png", plain(RED))
    with FaultProxy(store.address, once(is_listing, Answer(400, "ExpiredToken"))) as proxy:
        assert (await scan(store, tmp_path, proxy, tuning=tuning)).worker.counts.tagged == 1


def test_the_estimate_is_the_maximum_cost_of_a_million_photos():
    """In dollars, at AWS's list prices."""
    million = CostEstimate(keys=1_000_000, photos=1_000_000)
    assert (million.lists, million.reads) == (1000, 6_000_000)
    assert round(million.cost_usd, 3) == 7.405
    assert round(million.cost_current_usd, 3) == 0.405
    assert million.tags_usd_per_month == 4.0
