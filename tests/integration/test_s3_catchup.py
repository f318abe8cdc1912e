"""A bucket's older photos: scanned from one machine, or told of to many by enqueue."""

import asyncio
import gzip
import io
import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from buckets import BUCKET, address, behind, put, scan, settings_for, store, surroundings, tags, waiting  # noqa: F401
from doubles import colour_tagger
from faultproxy import FaultProxy, denied
from pawtag.__main__ import main
from pawtag.buckets import mailbox_of, objects_of, pages_of
from pawtag.errors import ConfigError
from pawtag.records import now
from pawtag.s3.enqueue import Teller
from pawtag.s3.listing import Checkpoint
from pawtag.stamps import Judge
from pictures import GREEN, RED, plain


async def test_a_scan_that_goes_on_begins_before_what_it_gave_up(store, tmp_path, monkeypatch):
    """It is done, or named again."""
    monkeypatch.setattr("pawtag.buckets.TRIES", 1)
    put(store, "a.png", plain(RED))
    put(store, "b.png", plain(RED))
    with FaultProxy(store.address, denied("a.png")) as proxy:
        assert (await scan(store, tmp_path, proxy)).source.given_up == 1
    assert (await scan(store, tmp_path)).pipeline.counts.tagged == 1
    assert "pawtag:by" in tags(store, "a.png")


async def test_S15_a_scan_reads_only_what_needs_it(store, tmp_path):
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


async def test_S13_a_scan_passes_over_colder_classes(store, tmp_path):
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


async def test_S15_enqueue_tells_the_queue_of_what_needs_it(store, tmp_path):
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
        at = behind(store, proxy)
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
