"""The webhook: a real receiver is told of each photo, whatever it answers, and whatever happens to the daemon."""

import asyncio
import json
import logging
from contextlib import asynccontextmanager

import pytest

from pawtag.app.wiring import build_folder_runner
from pawtag.config import Settings, WebhookSettings
from pawtag.domain.backoff import Backoff
from pawtag.outputs import webhook
from pawtag.outputs.webhook import Webhook, WebhookTuning
from pawtag.pipeline.announcer import Announcer
from pawtag.pipeline.outbox_settlement import OutboxSettlement
from pawtag.state.outbox import Outbox
from support.doubles import colour_tagger
from support.folder import drained, old, sidecar, tagged, until, watching_with
from support.pictures import GREEN, RED, plain
from support.pipeline import open_parts
from support.process import command, free_port
from support.receiver import SECRET, Receiver, receiving

FAST = WebhookTuning(poll_s=0.02, clean_s=0.1, backoff=Backoff(first_s=0.02, max_s=0.05))
DEFAULT = WebhookSettings().events


@asynccontextmanager
async def telling(root, address: str, events=DEFAULT):
    """A watched folder whose photos are announced: (work, outbox)."""
    settings = WebhookSettings(url=f"{address}/hook", secret=SECRET)
    async with open_parts(colour_tagger(), announces=events) as parts:
        outbox = Outbox(parts.database)
        sending = asyncio.create_task(Webhook(settings, outbox, tuning=FAST).run())
        async with watching_with(parts, root, settle_s=0.1, stable_s=0.1) as work:
            yield work, outbox
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_each_photo_is_told_of_with_its_record_and_reason(tmp_path):
    """New, changed, corrected; signed; once each."""
    async with receiving(Receiver()) as receiver, telling(tmp_path, receiver.address) as (work, _):
        path = old(tmp_path / "a.png", plain(RED))
        await until(lambda: len(receiver.taken) == 1)
        first_id, first = receiver.taken[0]
        assert first["data"] == sidecar(path)
        assert (first["type"], first["reason"], first["uri"]) == ("photo.tagged", "new", str(path))
        path.write_bytes(plain(GREEN))
        await tagged(path, "green")
        await until(lambda: len(receiver.taken) == 2)
        await work.worker.operations.correct(str(path), {"species": ["red"]}, replaces=True)
        await until(lambda: len(receiver.taken) == 3)
        assert [document["reason"] for _, document in receiver.taken] == ["new", "changed", "corrected"]
        assert len({message_id for message_id, _ in receiver.taken}) == 3
        assert first_id.startswith("photo_")


async def test_a_new_model_tells_nobody_who_does_not_want_it(tmp_path):
    """By default; and everybody who does."""
    async with receiving(Receiver()) as receiver:
        for events, count in ((DEFAULT, 0), (("re-tagged",), 1)):
            old(tmp_path / "a.png", plain(RED))
            async with open_parts(colour_tagger()) as parts, watching_with(parts, tmp_path, stable_s=0.1):
                await tagged(tmp_path / "a.png")
            record = sidecar(tmp_path / "a.png")
            write_fingerprint(tmp_path / "a.png.json", record, "0" * 12)
            async with telling(tmp_path, receiver.address, events) as (work, outbox):
                await until(lambda: sidecar(tmp_path / "a.png")["fingerprint"] != "0" * 12)
                await drained(work)
                await until(lambda: outbox.count() == 0)
            assert len(receiver.taken) == count


def write_fingerprint(path, record: dict, fingerprint: str) -> None:
    path.write_text(json.dumps(record | {"fingerprint": fingerprint}))


@pytest.mark.parametrize("status", [500, 429, 410, 301, 307])
async def test_what_is_not_taken_is_told_again_with_the_same_id(tmp_path, caplog, status):
    """No redirect is followed; the log names it once, and its end."""
    caplog.set_level(logging.INFO, "pawtag")
    async with receiving(Receiver([status] * 3)) as receiver, telling(tmp_path, receiver.address) as (_, outbox):
        old(tmp_path / "a.png", plain(RED))
        await until(lambda: len(receiver.taken) == 1)
        await until(lambda: outbox.count() == 0)
    assert len(receiver.seen) == 4
    assert len({message_id for message_id, _ in receiver.seen}) == 1
    assert receiver.moved_to == []
    warnings = [line.message for line in caplog.records if line.name == "pawtag.outputs.webhook"]
    assert [str(status) in warnings[0], len(warnings)] == [True, 2]
    assert "hook" not in "".join(warnings).replace("webhook", ""), "the path may hold a secret"


async def test_a_receiver_that_is_down_loses_nothing_and_slows_nothing(tmp_path):
    """Photos are tagged meanwhile; all are told once it is back."""
    port = free_port()
    async with telling(tmp_path, f"http://127.0.0.1:{port}") as (work, outbox):
        for number in range(20):
            old(tmp_path / f"{number}.png", plain((number, 0, 0)))
        await until(lambda: work.worker.done == 20)
        assert outbox.count() == 20
        async with receiving(Receiver(), port) as receiver:
            await until(lambda: len(receiver.taken) == 20)
            await until(lambda: outbox.count() == 0)
    assert len({message_id for message_id, _ in receiver.taken}) == 20


async def test_a_receiver_that_does_not_answer_is_left_after_a_time(tmp_path, monkeypatch, caplog):
    """And asked again."""
    monkeypatch.setattr(webhook, "TIMEOUT_S", 0.2)
    writers = []
    silent = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    address = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    async with telling(tmp_path, address) as (_, outbox):
        old(tmp_path / "a.png", plain(RED))
        await until(lambda: "did not answer" in caplog.text)
        assert outbox.count() == 1
    for writer in writers:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    silent.close()


@pytest.mark.parametrize("what", ["written", "not written", "folder away", "another daemon's"])
async def test_what_was_not_released_is_told_if_its_record_is_there(tmp_path, monkeypatch, what):
    """A process ended between the two: before the record was written, or after. What cannot be judged waits."""
    state, photos = tmp_path / "state", tmp_path / "photos"
    photos.mkdir()
    path = old(photos / "a.png", plain(RED))
    with monkeypatch.context() as patched:
        patched.setattr(Announcer, "release", lambda _self, _id: asyncio.sleep(0))
        async with open_parts(colour_tagger(), state, announces=DEFAULT) as parts, watching_with(parts, photos):
            await tagged(path)
    if what == "not written":
        (photos / "a.png.json").unlink()
    if what == "folder away":
        photos.rename(tmp_path / "away")
    async with open_parts(colour_tagger(), state, announces=DEFAULT) as parts:
        outbox, runner = Outbox(parts.database), build_folder_runner(Settings(), photos, parts)
        operations = None if what == "another daemon's" else runner.worker.operations
        await OutboxSettlement(outbox, lambda _: operations, lambda _: False).settle()
        assert (len(outbox.list_due(9)), outbox.count()) == {"written": (1, 1), "not written": (0, 0)}.get(what, (0, 1))


async def test_taking_a_correction_back_is_told_with_an_id_of_its_own(tmp_path):
    """A receiver that drops what it has seen would keep the correction."""
    async with receiving(Receiver()) as receiver, telling(tmp_path, receiver.address) as (work, _):
        path = old(tmp_path / "a.png", plain(RED))
        await until(lambda: len(receiver.taken) == 1)
        for count, corrections in enumerate(({"species": ["green"]}, None), 2):
            await work.worker.operations.correct(str(path), corrections, replaces=True)
            await until(lambda count=count: len(receiver.taken) == count)
    assert [document["data"]["tags"][0]["label"] for _, document in receiver.taken] == ["red", "green", "red"]
    assert len({message_id for message_id, _ in receiver.taken}) == 3


async def test_a_failed_photo_that_is_tagged_later_is_told_of(tmp_path):
    """The receiver believes that it failed."""
    async with receiving(Receiver()) as receiver, telling(tmp_path, receiver.address) as (_work, _):
        path = old(tmp_path / "a.png", b"no picture")
        await until(lambda: len(receiver.taken) == 1)
        path.write_bytes(plain(RED))
        await tagged(path)
        await until(lambda: len(receiver.taken) == 2)
    assert [document["type"] for _, document in receiver.taken] == ["photo.failed", "photo.tagged"]


async def test_an_unexpected_error_does_not_end_the_webhook(tmp_path, monkeypatch, caplog):
    """What comes after it is told."""
    errors = iter([RuntimeError("a defect")])
    post = Webhook.post

    async def fail_once(*given):
        if error := next(errors, None):
            raise error
        return await post(*given)

    monkeypatch.setattr(Webhook, "post", fail_once)
    async with receiving(Receiver()) as receiver, telling(tmp_path, receiver.address):
        old(tmp_path / "a.png", plain(RED))
        await until(lambda: len(receiver.taken) == 1)
    assert "unexpected error of the webhook" in caplog.text


def test_webhook_test_says_whether_it_is_taken(tmp_path):
    """Exit 1 and the reason where it is not, 2 without an address."""
    address = f"http://127.0.0.1:{free_port()}/hook"
    done = command("webhook", "test", home=tmp_path, PAWTAG_WEBHOOK__URL=address)
    assert (done.returncode, b"did not accept the message" in done.stderr) == (1, True)
    done = command("webhook", "test", home=tmp_path, PAWTAG_WEBHOOK__URL="")
    assert (done.returncode, b"webhook.url" in done.stderr) == (2, True)
    done = command("webhook", "test", home=tmp_path, PAWTAG_WEBHOOK__URL="ftp://x/y")
    assert (done.returncode, b"webhook.url" in done.stderr) == (2, True)
