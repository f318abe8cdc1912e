"""What the page reads and writes: /photos, /events and its own files, with a watched folder behind."""

import asyncio
import io
import json
import os
from contextlib import asynccontextmanager
from importlib.resources import files

import aiohttp
import pytest
from PIL import Image as Pillow

from pawtag.config import Settings
from pawtag.domain.outcomes import PhotoSkipped, PhotoTagged
from pawtag.domain.records import PhotoRef
from pawtag.server import ServerState, event_routes, serve_http
from pawtag.state.results import RecentResults
from support.doubles import COLOURS, colour_tagger
from support.folder import drained, old, sidecar, tagged, until, watching_with
from support.pictures import GREEN, RED, corner, encode_picture, plain
from support.pipeline import open_parts
from support.records import record_for

BROKEN = b"no picture"
ORIENTATION_TAG, LEFT_SIDE_UP = 0x0112, 6


@asynccontextmanager
async def page(root, **settings):
    """A watched folder and its server: (session, work, state)."""
    async with open_parts(colour_tagger()) as parts, watching_with(parts, root, settle_s=0.1, stable_s=0.1) as work:
        state = ServerState(Settings(server={"port": 0, **settings}), COLOURS, observers=parts.observers)
        state.results = RecentResults(parts.database, state.live_feed)
        parts.observers.add(state.results)
        state.find_operations = lambda uri: work.worker.operations if work.owns(uri) else None
        state.activate(parts.tagger, work.worker)
        async with serve_http(state) as running, aiohttp.ClientSession(running.address) as session:
            yield session, work, state
            state.live_feed.close()


async def rows(session, query: str = "", count: int | None = None) -> list[dict]:
    """The photos that are listed, once there are so many."""
    async with asyncio.timeout(10):
        while True:
            async with session.get(f"/photos{query}") as response:
                found = (await response.json())["photos"]
            if count is None or len(found) == count:
                return found
            await asyncio.sleep(0.05)


async def read_events(response, count: int) -> list[dict]:
    """So many events: kind, id and data."""
    found = []
    async with asyncio.timeout(10):
        while len(found) < count:
            block = (await response.content.readuntil(b"\n\n")).decode()
            if block.startswith(("id", "event")):
                found.append(dict(line.split(": ", 1) for line in block.strip().splitlines()))
    return [event | {"data": json.loads(event["data"])} for event in found]


async def test_photos_are_listed_newest_first_and_page_by_page(tmp_path):
    """Each with its status, its tags, and why it failed; by status, too."""
    async with page(tmp_path) as (session, _, _):
        for name, data in {"a.png": plain(RED), "b.png": BROKEN, "c.png": plain(GREEN)}.items():
            old(tmp_path / name, data)
            await rows(session, count=len(list(tmp_path.glob("*.png"))))
        found = await rows(session)
        assert [row["name"] for row in found] == ["c.png", "b.png", "a.png"]
        assert [row["has_thumbnail"] for row in found] == [True, False, True]
        assert found[0]["tags"][0]["label"] == "green"
        assert found[0]["uri"] == str(tmp_path / "c.png")
        assert [row["error"]["code"] for row in await rows(session, "?status=failed")] == ["not-an-image"]
        async with session.get("/photos?limit=2") as response:
            first = await response.json()
        assert [row["name"] for row in await rows(session, f"?limit=2&before={first['next']}")] == ["a.png"]


@pytest.mark.parametrize(
    "query",
    [
        "status=odd",
        "limit=0",
        "limit=501",
        "limit=x",
        "before=-1",
        f"before={9**40}",
        "before=" + 60 * "0",
        "before=" + 5000 * "0",
        "code=x",
    ],
)
async def test_a_query_that_is_not_understood_is_400(tmp_path, query):
    """And says what is allowed."""
    async with page(tmp_path) as (session, _, _), session.get(f"/photos?{query}") as response:
        assert response.status == 400
        assert (await response.json(content_type=None))["detail"]


async def test_a_photo_has_its_record_and_an_upright_thumbnail(tmp_path):
    """Small, without metadata, not sent twice; no other photo has one."""
    async with page(tmp_path) as (session, _, _):
        exif = Pillow.Exif()
        exif[ORIENTATION_TAG] = LEFT_SIDE_UP
        (tmp_path / "a.jpg").write_bytes(encode_picture(corner((600, 400)), "JPEG", exif=exif))
        (found,) = await rows(session, count=1)
        async with session.get(f"/photos/{found['id']}") as response:
            assert (await response.json()) == sidecar(tmp_path / "a.jpg")
        async with session.get(f"/photos/{found['id']}/thumbnail") as response:
            thumbnail, tag = await response.read(), response.headers["ETag"]
            assert response.content_type == "image/jpeg"
        assert b"Exif" not in thumbnail
        assert Pillow.open(io.BytesIO(thumbnail)).size == (213, 320)
        async with session.get(f"/photos/{found['id']}/thumbnail", headers={"If-None-Match": tag}) as response:
            assert response.status == 304
        async with session.get(f"/photos/{'0' * 32}/thumbnail") as response:
            assert response.status == 404


async def test_a_correction_is_written_and_taken_back(tmp_path):
    """In the sidecar at once; it takes the place of all earlier ones; null is what the model says."""
    async with page(tmp_path) as (session, _, _):
        old(tmp_path / "a.png", plain(RED))
        (found,) = await rows(session, count=1)
        address = f"/photos/{found['id']}/corrections"
        async with session.put(address, json={"species": ["green"]}) as response:
            corrected = await response.json()
        assert corrected["corrected"] == {"species": ["green"]}
        assert corrected["corrected_before"] is None
        assert sidecar(tmp_path / "a.png")["tags"] == [{"label": "green", "group": "species", "score": 1.0}]
        async with session.put(address, data="null") as response:
            assert (await response.json())["tags"][0]["label"] == "red"
        assert sidecar(tmp_path / "a.png")["corrected"] is None
        assert [row["corrected"] for row in await rows(session)] == [None]


async def test_a_correction_is_added_to_what_was_corrected_elsewhere(tmp_path):
    """By the command line, by hand: the page may not know of it, and must not undo it."""
    async with page(tmp_path) as (session, work, _):
        path = old(tmp_path / "a.png", plain(RED))
        (found,) = await rows(session, count=1)
        await drained(work)
        record = sidecar(path) | {"corrected": {"species": ["green"]}}
        (tmp_path / "a.png.json").write_text(json.dumps(record))
        address = f"/photos/{found['id']}/corrections"
        async with session.patch(address, json={}) as response:
            said = await response.json()
        assert (said["corrected_before"], said["corrected"]) == ({"species": ["green"]}, {"species": ["green"]})
        assert sidecar(path)["corrected"] == {"species": ["green"]}


async def test_a_correction_goes_on_when_the_page_is_closed(tmp_path):
    """The sidecar, the list and the feed say the same."""
    async with page(tmp_path) as (session, work, state):
        for number in range(8):
            old(tmp_path / f"{number}.png", plain(RED))
        found = await rows(session, count=8)
        await drained(work)
        for number, row in enumerate(found):
            closing = asyncio.create_task(
                session.patch(f"/photos/{row['id']}/corrections", json={"species": ["green"]}).__aenter__()
            )
            await asyncio.sleep(0.002 * number)
            closing.cancel()
            await asyncio.gather(closing, return_exceptions=True)
        await until(lambda: not state.operations)
        for row in await rows(session):
            assert sidecar(tmp_path / row["name"])["corrected"] == row["corrected"]


@pytest.mark.parametrize("body", ['{"species": ["unicorn"]}', "{", "5", '{"x": ["red"]}', '"unicorn"', "[" * 10_000])
async def test_a_correction_that_is_not_understood_is_400(tmp_path, body):
    """A slip on the page must not end in a sidecar."""
    async with page(tmp_path) as (session, _, _):
        old(tmp_path / "a.png", plain(RED))
        (found,) = await rows(session, count=1)
        async with session.put(f"/photos/{found['id']}/corrections", data=body) as response:
            assert response.status == 400
        assert sidecar(tmp_path / "a.png")["corrected"] is None


async def test_a_failed_photo_is_retried(tmp_path):
    """Its new row tells; one that did not fail is 409."""
    async with page(tmp_path) as (session, _, _):
        path = old(tmp_path / "a.png", BROKEN)
        (found,) = await rows(session, count=1)
        async with session.post(f"/photos/{found['id']}/retry") as response:
            assert (await response.json())["status"] == "failed"
        path.write_bytes(plain(RED))
        async with session.post(f"/photos/{found['id']}/retry") as response:
            assert (await response.json())["status"] == "tagged"
        async with session.post(f"/photos/{found['id']}/retry") as response:
            assert (await response.json())["status"] == "tagged"


async def test_a_photo_whose_folder_is_away_stays_in_the_list(tmp_path):
    """It comes back with its disk."""
    (tmp_path / "disk").mkdir()
    async with page(tmp_path / "disk") as (session, work, state):
        old(tmp_path / "disk/a.png", plain(RED))
        (found,) = await rows(session, count=1)
        await drained(work)
        state.is_missing = lambda _: False
        (tmp_path / "disk").rename(tmp_path / "away")
        async with session.put(f"/photos/{found['id']}/corrections", data="null") as response:
            assert response.status == 503
        (tmp_path / "away").rename(tmp_path / "disk")
        assert len(await rows(session)) == 1


async def test_a_correction_that_comes_in_pieces_is_read_to_its_end(tmp_path):
    """A proxy may split it; one that is too large, or never ends, is refused."""

    async def send(*pieces: bytes):
        for piece in pieces:
            yield piece
            await asyncio.sleep(0.1)

    async with page(tmp_path, stall_timeout_s=0.5) as (session, _, _):
        old(tmp_path / "a.png", plain(RED))
        (found,) = await rows(session, count=1)
        address = f"/photos/{found['id']}/corrections"
        async with session.put(address, data=send(b'{"species"', b': ["green"]}')) as response:
            assert (await response.json())["corrected"] == {"species": ["green"]}
        async with session.put(address, data=send(*[b" " * 40_000] * 2)) as response:
            assert response.status == 413
        async with session.put(address, data=send(*[b" "] * 20)) as response:
            assert response.status == 408


async def test_photos_are_not_shown_on_other_pages(tmp_path):
    """An image of a foreign page sends no Origin; browsers say where it comes from."""
    async with page(tmp_path) as (session, _, _):
        for path in ("/photos", "/photos/1/thumbnail", "/events"):
            async with session.get(path, headers={"Sec-Fetch-Site": "cross-site"}) as response:
                assert response.status == 403


async def test_a_photo_that_was_removed_is_404_and_goes_from_the_list(tmp_path, caplog):
    """Whatever is asked of it; the log has no error."""
    async with page(tmp_path) as (session, work, _):
        old(tmp_path / "a.png", plain(RED))
        (found,) = await rows(session, count=1)
        await until(lambda: work.source.is_drained)
        os.unlink(tmp_path / "a.png")
        async with session.put(f"/photos/{found['id']}/corrections", data="null") as response:
            assert response.status == 404
        await rows(session, count=0)
    assert not [line for line in caplog.records if line.levelname == "ERROR"]


async def test_a_photo_of_another_place_is_named_and_not_touched(tmp_path):
    """What an earlier start has watched: its results are still listed."""
    (tmp_path / "watched").mkdir()
    outside = old(tmp_path / "a.png", plain(RED))
    async with page(tmp_path / "watched") as (session, _work, state):
        ref = PhotoRef(str(outside), 1, 1)
        state.observers.publish(PhotoTagged(ref, record_for(ref), 0.1))
        (found,) = await rows(session, count=1)
        async with session.put(f"/photos/{found['id']}/corrections", json={"species": ["green"]}) as response:
            assert response.status == 503
        assert sidecar(outside) is None


async def test_requests_are_listed_where_that_is_asked_for(tmp_path):
    """Names and tags; nothing can be shown or corrected, for nothing is kept."""
    async with page(tmp_path, keep_requests=True) as (session, _, _):
        async with session.post("/tag", data=plain(RED)) as response:
            assert response.status == 200
        (found,) = await rows(session)
        assert (found["name"], found["has_thumbnail"], found["tags"][0]["label"]) == ("a request", False, "red")
        async with session.put(f"/photos/{found['id']}/corrections", data="null") as response:
            assert response.status == 409
    async with page(tmp_path) as (session, _, _):
        async with session.post("/tag", data=plain(RED)) as response:
            assert response.status == 200
        assert await rows(session) == []


async def test_the_live_feed_tells_of_photos_as_they_come(tmp_path):
    """A row each, and when one is gone."""
    async with page(tmp_path) as (session, _, state), session.get("/events") as events:
        (tmp_path / "a.png").write_bytes(plain(RED))
        (first,) = await read_events(events, 1)
        state.observers.publish(PhotoSkipped("gone", ref=PhotoRef(str(tmp_path / "a.png"))))
        (second,) = await read_events(events, 1)
    assert (first["event"], first["data"]["name"], first["data"]["status"]) == ("photo", "a.png", "tagged")
    assert (second["event"], second["data"]) == ("gone", {"id": first["data"]["id"]})


async def test_a_reader_that_comes_back_gets_what_it_missed_once(tmp_path):
    """By Last-Event-ID, or by `after`; without gaps and doubles."""
    async with page(tmp_path) as (session, _, _):
        async with session.get("/events") as events:
            (tmp_path / "a.png").write_bytes(plain(RED))
            (first,) = await read_events(events, 1)
        (tmp_path / "b.png").write_bytes(plain(RED))
        await tagged(tmp_path / "b.png")
        for index, asked in enumerate(
            ({"headers": {"Last-Event-ID": first["id"]}}, {"params": {"after": first["id"]}})
        ):
            async with session.get("/events", **asked) as events:
                missed = await read_events(events, 1 + index)
                (tmp_path / f"c{index}.png").write_bytes(plain(RED))
                now = await read_events(events, 1)
            names = [event["data"]["name"] for event in [*missed, *now]]
            assert names == ["b.png", "c0.png", "c1.png"][: 2 + index]


async def test_a_reader_that_missed_too_much_is_told_to_reload(tmp_path, monkeypatch):
    """The list is shorter than the feed of a day."""
    monkeypatch.setattr(event_routes, "MAX_MISSED", 2)
    async with page(tmp_path) as (session, _, _):
        for name in "abc":
            old(tmp_path / f"{name}.png", plain(RED))
        await rows(session, count=3)
        async with session.get("/events?after=0") as events:
            (event,) = await read_events(events, 1)
    assert event["event"] == "reload"


async def test_a_silent_feed_stays_open(tmp_path, monkeypatch):
    """A comment now and then, for proxies close what is silent."""
    monkeypatch.setattr(event_routes, "HEARTBEAT_S", 0.1)
    async with page(tmp_path) as (session, _, _), session.get("/events") as events, asyncio.timeout(5):
        while b"alive" not in await events.content.readuntil(b"\n\n"):
            pass


async def test_the_page_and_its_files_need_no_key_and_name_no_photo(tmp_path):
    """They are the same for all; what they read asks for the key."""
    async with page(tmp_path, api_key="secret") as (session, _, _):
        async with session.get("/") as response:
            assert response.content_type == "text/html"
            assert "default-src 'self'" in response.headers["Content-Security-Policy"]
            text, tag = await response.text(), response.headers["ETag"]
        assert "onclick=" not in text
        assert "<script>" not in text
        async with session.get("/", headers={"If-None-Match": tag}) as response:
            assert response.status == 304
        async with session.get("/page/main.js") as response:
            assert response.content_type == "text/javascript"
        for path in ("/photos", "/events", "/photos/1", "/photos/1/thumbnail", "/status"):
            async with session.get(path) as response:
                assert response.status == 401
        for path in ("/page/none.js", "/page/..%2Fauth.py", "/page/%2e%2e/auth.py"):
            async with session.get(path) as response:
                assert response.status in (401, 404)


@pytest.mark.parametrize("settings", [{"page": False}, {"host": "0.0.0.0"}])
async def test_where_the_page_is_off_nothing_of_it_is_there(tmp_path, settings):
    """By the setting, and where strangers reach an open server."""
    async with page(tmp_path, **settings) as (session, _, _):
        address = session._base_url.with_host("127.0.0.1")
        for path in ("/", "/page/main.js", "/photos", "/photos/1", "/photos/1/thumbnail", "/events"):
            async with session.get(address.join(address.with_path(path))) as response:
                assert response.status == 404
                assert "server.page" in (await response.json(content_type=None))["detail"]


def test_the_page_is_small():
    """Less than 60 kB, without anything from elsewhere."""
    contents = [file.read_text() for file in files("pawtag.server").joinpath("page").iterdir()]
    assert sum(map(len, contents)) < 60_000
    assert not any("//cdn" in text or "https://" in text for text in contents)


async def test_a_page_of_a_trusted_origin_may_post_photos_and_no_other(tmp_path):
    """Preflight and answer say so; another origin is refused, and told the cure."""
    shelter = "https://shelter.example"
    async with page(tmp_path, api_key="secret", trusted_origins=[shelter]) as (session, _, _):
        asked = {"Origin": shelter, "Access-Control-Request-Method": "POST"}
        async with session.options("/tag", headers=asked) as response:
            assert response.status == 204
            assert response.headers["Access-Control-Allow-Origin"] == shelter
            assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
        key = {"Authorization": "Bearer secret"}
        async with session.post("/tag", data=plain(RED), headers={"Origin": shelter, **key}) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == shelter
            assert "Pawtag-Status" in response.headers["Access-Control-Expose-Headers"]
        async with session.post("/tag", data=b"", headers={"Origin": shelter, **key}) as response:
            assert response.status == 400
            assert response.headers["Access-Control-Allow-Origin"] == shelter
        for path, origin in (("/tag", "https://evil.example"), ("/photos", "https://evil.example")):
            async with session.options(path, headers={**asked, "Origin": origin}) as response:
                assert response.status in (401, 403)
                assert "Access-Control-Allow-Origin" not in response.headers
        async with session.post("/tag", data=b"x", headers={"Origin": "https://evil.example", **key}) as response:
            assert response.status == 403
            assert "trusted_origins" in (await response.json(content_type=None))["detail"]
