"""Records of a bucket's photos whose tags and sidecar objects can fail."""

import asyncio
import base64
import hashlib
import json
from dataclasses import replace
from functools import partial

import pytest

from pawtag.domain.errors import PermanentError, TemporaryError
from pawtag.domain.records import PhotoRef
from support import buckets
from support.buckets import (
    BUCKET,
    SHORT_WAITS,
    behind,
    count_messages,
    event,
    put,
    sidecar,
    tags,
    until,
    wire,
)
from support.fault_proxy import Answer, FaultProxy, is_read, is_tagging
from support.pictures import GREEN, RED, plain

run_queue_worker = partial(buckets.run_queue_worker, tuning=SHORT_WAITS)


def send_event(store, key: str) -> None:
    store.sqs.send_message(QueueUrl=store.url, MessageBody=json.dumps({"Records": [event(key)]}))


def tag(store, key: str, **wanted: str) -> None:
    tag_set = {"TagSet": [{"Key": name, "Value": value} for name, value in wanted.items()]}
    store.s3.put_object_tagging(Bucket=BUCKET, Key=key, Tagging=tag_set)


def is_sidecar(asked) -> bool:
    return asked.path.endswith(".json")


async def test_a_record_that_arrives_incomplete_is_not_treated_as_broken(store):
    """What a person wrote into it stays."""
    put(store, "a.png", plain(RED))
    corrected = {"schema": "pawtag.record/1", "corrected": {"species": ["green"]}, "album": "summer " * 50}
    put(store, "a.png.json", json.dumps(corrected).encode())
    cut = lambda asked: Answer(cut=True) if asked.method == "GET" and is_sidecar(asked) else None  # noqa: E731
    with FaultProxy(store.address, cut) as proxy:
        async with run_queue_worker(behind(store, proxy), output="sidecar"):
            await until(lambda: sum(map(is_sidecar, proxy.asked)) >= 2)
            assert sidecar(store, "a.png") == corrected
            proxy.fault = lambda _: None
            await until(lambda: sidecar(store, "a.png").get("status"))
    found = sidecar(store, "a.png")
    assert (found["tags"][0]["label"], found["album"]) == ("green", corrected["album"])


async def test_S06_our_old_tags_are_replaced_by_the_sidecar_object(store):
    """They would contradict it, and vouch for it no more."""
    async with run_queue_worker(store) as at_work:
        put(store, "a.png", plain(RED))
        await until(lambda: "pawtag:fingerprint" in tags(store, "a.png"))
        others = {f"t{number}": "x" for number in range(8)}
        tag(store, "a.png", **others, **{"pawtag:species": "green", "pawtag:fingerprint": "old.old"})
        send_event(store, "a.png")
        await until(lambda: tags(store, "a.png") == others)
        await until(lambda: count_messages(store) == 0)
        calls = sum(at_work.model.batches)
        send_event(store, "a.png")
        await until(lambda: count_messages(store) == 0)
        assert sum(at_work.model.batches) == calls
    assert sidecar(store, "a.png")["tags"][0]["label"] == "red"


async def test_S07_where_our_tags_are_refused_the_sidecar_object_is_the_stamp(store):
    """Also of an object that has no tags at all."""
    refused = lambda asked: Answer(400, "InvalidTag") if is_tagging(asked) else None  # noqa: E731
    with FaultProxy(store.address, refused) as proxy:
        async with run_queue_worker(behind(store, proxy)) as at_work:
            put(store, "a.png", plain(RED))
            await until(lambda: count_messages(store) == 0)
            send_event(store, "a.png")
            await until(lambda: count_messages(store) == 0)
            assert at_work.model.batches == [1]
    assert sidecar(store, "a.png")["tags"][0]["label"] == "red"


async def test_with_both_outputs_the_tags_follow_a_correction(store):
    """And come back where somebody took them off."""
    async with run_queue_worker(store, output="both"):
        put(store, "a.png", plain(RED))
        await until(lambda: count_messages(store) == 0)
        put(store, "a.png.json", json.dumps(sidecar(store, "a.png") | {"corrected": {"species": ["green"]}}).encode())
        send_event(store, "a.png")
        await until(lambda: tags(store, "a.png")["pawtag:species"] == "green")
        store.s3.delete_object_tagging(Bucket=BUCKET, Key="a.png")
        send_event(store, "a.png")
        await until(lambda: tags(store, "a.png").get("pawtag:species") == "green")
        await until(lambda: count_messages(store) == 0)


async def test_S06_where_a_get_has_no_tag_count_the_tags_are_read(store):
    """A store that leaves the number out, or a policy without s3:GetObjectTagging, wipes out nobody's."""
    mute = lambda asked: Answer(without="x-amz-tagging-count") if asked.method == "GET" else None  # noqa: E731
    with FaultProxy(store.address, mute) as proxy:
        async with run_queue_worker(behind(store, proxy)) as at_work:
            for key in ("a.png", "b.png"):
                put(store, key, plain(RED), album="summer")
                await until(lambda key=key: "pawtag:fingerprint" in tags(store, key))
            await until(lambda: count_messages(store) == 0)
            send_event(store, "b.png")
            await until(lambda: count_messages(store) == 0)
            assert sum(at_work.model.batches) == 2
    assert tags(store, "a.png")["album"] == tags(store, "b.png")["album"] == "summer"


async def test_S06_tags_that_a_writer_replaces_at_the_same_moment_are_written_again(store):
    """Ours were lost to it: that is seen, and all are merged once more."""
    put(store, "a.png", plain(RED), album="summer")
    left = ["winter"]

    def peer(asked):
        has_written = any(is_tagging(one) for one in proxy.asked)
        if left and has_written and asked.method == "GET" and asked.tagging:
            tag(store, "a.png", album=left.pop())

    with FaultProxy(store.address, peer) as proxy:
        async with run_queue_worker(behind(store, proxy)):
            await until(lambda: count_messages(store) == 0)
    assert not left
    assert tags(store, "a.png").items() >= {"album": "winter", "pawtag:species": "red"}.items()


async def test_records_of_two_buckets_in_one_sidecar_bucket_do_not_clash(store):
    """The other's has the same name; the record takes the second."""
    store.s3.create_bucket(Bucket="records")
    other = {"schema": "pawtag.record/1", "source": {"kind": "s3", "uri": "s3://other/a.png"}}
    store.s3.put_object(Bucket="records", Key="a.png.json", Body=json.dumps(other).encode())
    put(store, "a.png", plain(RED))
    async with run_queue_worker(store, output="sidecar", sidecar_bucket="records"):
        await until(lambda: count_messages(store) == 0)
    found = {key: store.s3.get_object(Bucket="records", Key=key)["Body"].read() for key in RECORDS}
    assert json.loads(found[RECORDS[0]]) == other
    assert json.loads(found[RECORDS[1]])["source"]["uri"] == f"s3://{BUCKET}/a.png"
    assert [one["Key"] for one in store.s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["a.png"]


RECORDS = ("a.png.json", "a.png.pawtag.json")


async def test_S11_a_store_that_does_not_answer_ends_in_a_timeout(store):
    """A time-out is a passing fault."""
    put(store, "a.png", plain(RED))
    with FaultProxy(store.address, lambda asked: Answer(delay_s=5) if is_read(asked) else None) as proxy:
        objects = wire(behind(store, proxy), tuning=replace(SHORT_WAITS, read_timeout_s=0.3)).build_objects()
        ref = PhotoRef(f"s3://{BUCKET}/a.png")
        with objects.open_blocking(ref) as photo, pytest.raises(TemporaryError, match=r"a\.png"):
            await asyncio.to_thread(photo.look)


async def test_S10_the_failed_part_of_a_batch_is_named(store):
    """Not those whose receipt has run out: they come again, or are gone."""
    codes = {"1": "InternalError", "2": "ReceiptHandleIsInvalid"}
    failed = json.dumps({"Successful": [{"Id": "0"}], "Failed": [{"Id": one, "Code": codes[one]} for one in codes]})
    with FaultProxy(store.address, lambda _: Answer(200, body=failed.encode())) as proxy:
        queue = wire(behind(store, proxy)).build_queue(behind(store, proxy).url, None)
        assert await asyncio.to_thread(queue.delete, ["zero", "one", "two"]) == ["one"]


async def test_S13_a_file_that_is_no_photo_is_recognised_by_its_first_bytes(store):
    """The rest of a video of a gigabyte is not fetched."""
    objects = wire(store).build_objects()
    put(store, "a.png", b"%PDF-1.7 " + b"x" * 3_000_000)
    with objects.open_blocking(PhotoRef(f"s3://{BUCKET}/a.png")) as photo:
        await asyncio.to_thread(photo.look)
        body = photo._body
        with pytest.raises(PermanentError, match="PDF"):
            await asyncio.to_thread(photo.read)
        assert body.tell() <= 64 * 1024


async def test_a_correction_overrules_the_model_in_tags_and_record(store):
    """One photo, one answer."""
    put(store, "a.png", plain(GREEN))
    put(store, "a.png.json", b'{"schema": "pawtag.record/1", "corrected": {"species": ["red"]}}')
    async with run_queue_worker(store, output="both"):
        await until(lambda: count_messages(store) == 0)
    assert tags(store, "a.png")["pawtag:species"] == sidecar(store, "a.png")["tags"][0]["label"] == "red"


@pytest.mark.parametrize("write", ["tags", "both"])
async def test_S07_where_the_store_refuses_the_tags_of_others_the_photo_is_finished_once(store, write):
    """A second look makes nothing; another photo's tags come through all the same."""
    refused = lambda asked: Answer(400, "InvalidTag") if is_tagging(asked) and asked.path.endswith("a.png") else None  # noqa: E731
    with FaultProxy(store.address, refused) as proxy:
        async with run_queue_worker(behind(store, proxy), output=write) as at_work:
            put(store, "a.png", plain(RED), album="summer")
            await until(lambda: count_messages(store) == 0)
            send_event(store, "a.png")
            await until(lambda: count_messages(store) == 0)
            assert sum(at_work.model.batches) == 1
            once = [Answer(503, "SlowDown")] * 2
            proxy.fault = lambda asked: once.pop() if once and is_tagging(asked) else None
            put(store, "b.png", plain(RED))
            await until(lambda: count_messages(store) == 0)
    assert tags(store, "a.png") == {"album": "summer"}
    assert sidecar(store, "a.png")["source"]["tags"] == "refused"
    assert tags(store, "b.png")["pawtag:species"] == "red"


async def test_S07_where_our_tags_are_refused_an_older_stamp_is_not_current(store):
    """The sidecar object is newer; old tags of ours alone cannot be taken off without another permission."""
    put(store, "a.png", plain(RED))
    tag(store, "a.png", **{"pawtag:species": "green", "pawtag:fingerprint": "old.old"})
    refused = lambda asked: Answer(400, "BadRequest") if is_tagging(asked) else None  # noqa: E731
    with FaultProxy(store.address, refused) as proxy:
        async with run_queue_worker(behind(store, proxy)) as at_work:
            await until(lambda: count_messages(store) == 0)
            send_event(store, "a.png")
            await until(lambda: count_messages(store) == 0)
            assert sum(at_work.model.batches) == 1
    assert sidecar(store, "a.png")["tags"][0]["label"] == "red"


async def test_S07_a_store_without_tags_gets_sidecar_objects(store):
    """Also where nobody asked at the start: then it is asked what it meant, and a fault of that is waited for."""
    left = [Answer(503, "SlowDown")] * 2
    fault = lambda asked: (left.pop() if left else Answer(405, "MethodNotAllowed")) if asked.tagging else None  # noqa: E731
    with FaultProxy(store.address, fault) as proxy:
        async with run_queue_worker(behind(store, proxy)):
            put(store, "a.png", plain(RED), album="summer")
            await until(lambda: count_messages(store) == 0)
    assert sidecar(store, "a.png")["tags"][0]["label"] == "red"
    asked = {one.path for one in proxy.asked if one.tagging}
    assert all(path.startswith(f"/{BUCKET}/a.png") for path in asked)  # a policy may end at a prefix


async def test_a_record_without_a_source_is_replaced(store):
    """Whatever stands there."""
    put(store, "a.png", plain(RED))
    put(store, "a.png.json", b'{"schema": "pawtag.record/1", "source": null}')
    async with run_queue_worker(store, output="sidecar"):
        await until(lambda: count_messages(store) == 0)
    assert sidecar(store, "a.png")["tags"][0]["label"] == "red"


async def test_tags_are_written_where_the_output_setting_asks_for_them_later(store):
    """A current sidecar object does not replace them."""
    put(store, "a.png", plain(RED))
    async with run_queue_worker(store, output="sidecar"):
        await until(lambda: count_messages(store) == 0)
    assert "tags" not in sidecar(store, "a.png")["source"]
    assert tags(store, "a.png") == {}
    async with run_queue_worker(store, output="both"):
        send_event(store, "a.png")
        await until(lambda: tags(store, "a.png").get("pawtag:species") == "red")


def want_md5(code: str):
    """Of every PUT, and the right one: moto does not look at it."""

    def answer(asked):
        md5 = base64.b64encode(hashlib.md5(asked.body).digest()).decode()
        return Answer(400, code) if asked.method == "PUT" and asked.headers.get("content-md5") != md5 else None

    return answer


def want_no_checksum(asked):
    is_known = not any(name.startswith(("x-amz-checksum-", "x-amz-trailer")) for name in asked.headers)
    return None if is_known else Answer(501, "NotImplemented")


@pytest.mark.parametrize(
    "fault", [want_md5("InvalidRequest"), want_md5("MissingContentMD5"), want_md5("BadDigest"), want_no_checksum]
)
@pytest.mark.parametrize("output", ["tags", "sidecar"])
async def test_S18_stores_with_older_checksums_get_their_records(store, fault, output):
    """They want Content-MD5 with tags, or know no x-amz-checksum header: boto3 sends the one, and no other, to them."""
    put(store, "a.png", plain(RED))
    with FaultProxy(store.address, fault) as proxy:
        async with run_queue_worker(behind(store, proxy), output=output):
            if output == "tags":
                await until(lambda: "pawtag:fingerprint" in tags(store, "a.png"))
            else:
                await until(lambda: buckets.exists(store, "a.png.json"))


async def test_S19_a_store_without_etags_gets_its_records_once(store):
    """Size and time stand for the version; no traceback, no second tagging."""
    put(store, "a.png", plain(RED))
    with FaultProxy(store.address, lambda asked: Answer(without="etag") if asked.method == "GET" else None) as proxy:
        async with run_queue_worker(behind(store, proxy)) as at_work:
            await until(lambda: "pawtag:fingerprint" in tags(store, "a.png"))
            send_event(store, "a.png")
            await until(lambda: count_messages(store) == 0)
    assert sum(at_work.model.batches) == 1


async def test_the_record_under_the_second_name_is_found_when_the_first_becomes_free(store):
    """Another program had the first name; the correction in our record stays."""
    put(store, "a.png.json", b'{"title": "of another program"}')
    put(store, "a.png", plain(RED))
    async with run_queue_worker(store, output="sidecar"):
        await until(lambda: buckets.exists(store, "a.png.pawtag.json"))
        await until(lambda: count_messages(store) == 0)
    record = json.loads(buckets.read(store, "a.png.pawtag.json"))
    put(store, "a.png.pawtag.json", json.dumps(record | {"corrected": {"species": ["green"]}}).encode())
    store.s3.delete_object(Bucket=BUCKET, Key="a.png.json")
    async with run_queue_worker(store, output="sidecar"):
        send_event(store, "a.png")
        await until(lambda: json.loads(buckets.read(store, "a.png.pawtag.json"))["tags"][0]["label"] == "green")
    assert not buckets.exists(store, "a.png.json")


async def test_F21_W07_a_slip_in_an_edited_sidecar_object_loses_nothing(store):
    """One comma too many: what a person wrote is kept under another name."""
    broken = b'{\n "schema": "pawtag.record/1",\n "corrected": {"species": ["green"]},,\n}'
    put(store, "a.png.json", broken)
    put(store, "a.png", plain(RED))
    async with run_queue_worker(store, output="sidecar"):
        await until(lambda: b"tagged" in buckets.read(store, "a.png.json"))
    assert buckets.read(store, "a.png.broken.json") == broken
