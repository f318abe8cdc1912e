"""The server: real HTTP over a socket, with a tagger that sees colours."""

import asyncio
import base64
import binascii
import gc
import gzip
import json
import random
import threading
import time
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace

import aiohttp
import pytest

from pawtag.config import Settings
from pawtag.domain.errors import PawtagError
from pawtag.domain.ports import DownloadProgress, SourceState
from pawtag.pipeline.observers import count_in
from pawtag.server import ServerState, serve_http
from support.doubles import COLOURS, ColourEngine, SlowEngine, colour_model, colour_tagger
from support.pictures import BLUE, GREEN, RED, plain

BOUNDARY = "frontier"


@asynccontextmanager
async def server(model=None, *, ready=True, max_bytes_in_flight=10**9, limits=None, **settings):
    """A running server: (session, state); the session's base is its address."""
    state = ServerState(Settings(server={"port": 0, **settings}, limits=limits or {}), COLOURS)
    state.max_bytes_in_flight = max_bytes_in_flight
    async with colour_tagger(model).run() as tagger, serve_http(state) as running:
        state.tagger = tagger if ready else None
        async with aiohttp.ClientSession(running.address) as session:
            yield session, state


async def problem(response, status: int) -> dict:
    """The problem document of a refusal, checked for its shape."""
    assert response.status == status
    assert response.content_type == "application/problem+json"
    document = await response.json(content_type=None)
    assert document["status"] == status
    assert document["detail"].endswith(".")
    return document


def form(**fields: bytes) -> aiohttp.FormData:
    data = aiohttp.FormData()
    for name, content in fields.items():
        data.add_field(name, content, filename="photo")
    return data


async def raw(address: str, request: bytes) -> bytes:
    """What the server answers to bytes that no HTTP library would send."""
    host, port = address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(65536), 5)
    writer.close()
    return answer


async def test_a_photo_in_a_form_and_as_the_body_get_the_same_tags():
    """The content decides, whatever Content-Type says."""
    async with server() as (session, _):
        answers = []
        async with session.post("/tag", data=form(file=plain(RED))) as response:
            answers.append(await response.json())
        for kind in ("image/png", "text/plain", "application/octet-stream", "application/x-www-form-urlencoded"):
            async with session.post("/tag", data=plain(RED), headers={"Content-Type": kind}) as response:
                answers.append(await response.json())
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][0]["label"] == "red"
    assert answers[0][0] | {"score": 0} == {"label": "red", "score": 0, "group": "species", "tagged": True}


async def test_detail_record_returns_the_whole_record():
    """?detail=record gives the document that a sidecar holds; another value is refused."""
    async with server() as (session, state):
        async with session.post("/tag?detail=record", data=plain(GREEN)) as response:
            record = await response.json()
        async with session.post("/tag?detail=everything", data=plain(GREEN)) as response:
            await problem(response, 400)
    assert (record["status"], record["photo"]["name"], record["source"]) == ("tagged", None, {"kind": "request"})
    assert record["labels"] == state.labels.fingerprint


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "empty"),
        (b"no picture", 400, "not-an-image"),
        (plain(kind="JPEG", size=(200, 200))[:500], 400, "truncated"),
        (b"%PDF-1.7", 415, "unsupported"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported"),
        (b'{"url": "http://example.org/cat.jpg"}', 415, "unsupported"),
        (bytes(2001), 413, "too-many-bytes"),
    ],
)
async def test_I01_a_body_that_cannot_be_tagged_gets_its_code(body, status, code):
    """Each error names the status and the record's code, also with detail=record."""
    async with server(max_upload_bytes=2000) as (session, _):
        for detail in ("labels", "record"):
            async with session.post(f"/tag?detail={detail}", data=body) as response:
                assert (await problem(response, status))["code"] == code


async def test_I03_too_many_pixels_are_413():
    """A picture over the limit is refused by its header."""
    async with server() as (session, state):
        state.tagger._image_limits = state.tagger._image_limits.__class__(10**6, 100)
        async with session.post("/tag", data=plain(size=(11, 10))) as response:
            assert (await problem(response, 413))["code"] == "too-many-pixels"


async def test_H01_the_upload_limit_holds_while_reading():
    """Chunked bodies and form fields without a length are counted as they come."""

    async def endless():
        for _ in range(1000):
            yield bytes(1000)

    async with server(max_upload_bytes=50_000) as (session, _):
        async with session.post("/tag", data=endless()) as response:
            await problem(response, 413)
        async with session.post("/tag", data=form(other=bytes(60_000), file=plain())) as response:
            await problem(response, 413)
        async with session.post(
            "/tag", data=gzip.compress(bytes(10**6)), headers={"Content-Encoding": "gzip"}
        ) as response:
            await problem(response, 413)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"whatever"),
        (f"multipart/form-data; boundary={BOUNDARY}", b""),
        (f"multipart/form-data; boundary={BOUNDARY}", b"no boundary here"),
        (
            f"multipart/form-data; boundary={BOUNDARY}",
            b"--frontier\r\nContent-Disposition: form-data; name=file\r\n\r\ncut",
        ),
        (f"multipart/form-data; boundary={BOUNDARY}", b"--frontier\r\n\r\nno name\r\n--frontier--\r\n"),
        (
            f"multipart/form-data; boundary={BOUNDARY}",
            b"--frontier\r\n" + b"X: y\r\n" * 1000 + b"\r\nx\r\n--frontier--\r\n",
        ),
        (
            f"multipart/form-data; boundary={BOUNDARY}",
            b"--frontier\r\nX: " + b"y" * 10**6 + b"\r\n\r\nx\r\n--frontier--\r\n",
        ),
        (f"multipart/form-data; boundary={'x' * 100}", b"--x"),
        ("multipart/form-data; boundary=frontier", b"--frontier\r\nContent-Length: -5\r\n\r\nx\r\n--frontier--\r\n"),
        (
            f"multipart/form-data; boundary={BOUNDARY}",
            b"--frontier\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n" * 10_000 + b"--frontier--\r\n",
        ),
        (
            f"multipart/form-data; boundary={BOUNDARY}",
            b"--frontier\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n--frontier--\r\n",
        ),
    ],
)
async def test_H02_a_malformed_form_is_400(kind, body):
    """Never a 500 for bad input."""
    async with server() as (session, _), session.post("/tag", data=body, headers={"Content-Type": kind}) as response:
        await problem(response, 400)


async def test_no_photo_and_two_photos_are_refused():
    """One photo a request, in the field `file`."""
    two = form(file=plain())
    two.add_field("file", plain(), filename="second")
    async with server() as (session, _):
        for data in (form(image=plain()), two):
            async with session.post("/tag", data=data) as response:
                assert "in the field 'file'" in (await problem(response, 400))["detail"]


async def test_unknown_routes_and_methods_are_problems_too():
    """404 and 405, the latter with what is allowed."""
    async with server() as (session, _):
        async with session.get("/nothing") as response:
            await problem(response, 404)
        async with session.get("/tag") as response:
            await problem(response, 405)
            assert response.headers["Allow"] == "POST"


async def test_H03_a_sender_that_stalls_gets_408():
    """408 after the deadline; others are served meanwhile."""

    async def slow():
        yield plain()[:10]
        await asyncio.sleep(30)

    async with server(stall_timeout_s=1) as (session, _):
        late = asyncio.create_task(session.post("/tag", data=slow()))
        async with session.post("/tag", data=plain()) as response:
            assert response.status == 200
        async with await asyncio.wait_for(late, 5) as response:
            await problem(response, 408)


async def send_in_pieces(data: bytes, pieces: int, pause_s: float):
    """The body in so many pieces, each after a pause."""
    for number in range(pieces):
        await asyncio.sleep(pause_s)
        yield data[number * len(data) // pieces : (number + 1) * len(data) // pieces]


async def test_H03_a_steady_sender_may_take_longer_than_the_timeout():
    """The deadline is for stalls: each piece moves it."""
    async with server(stall_timeout_s=0.5) as (session, _):
        body = send_in_pieces(plain(size=(100, 100), kind="BMP"), 6, 0.2)
        async with session.post("/tag", data=body) as response:
            assert response.status == 200


async def test_H03_a_trickle_ends_in_408():
    """Bytes that come, but slower than any network: the request does not stay for ever."""
    async with server(stall_timeout_s=0.5) as (session, _):
        body = send_in_pieces(plain(), 20, 0.1)
        async with session.post("/tag", data=body) as response:
            await problem(response, 408)


async def test_while_the_model_loads_photos_get_503():
    """503 with Retry-After; /healthz answers, /readyz says why not."""
    async with server(ready=False) as (session, _):
        async with session.post("/tag", data=plain()) as response:
            await problem(response, 503)
            assert int(response.headers["Retry-After"]) > 0
        async with session.get("/healthz") as response:
            assert response.status == 200
        async with session.get("/readyz") as response:
            assert response.status == 503
            assert (await response.json())["reason"] == "the model is loading"


async def test_readyz_names_model_labels_and_sources():
    """The document of the contract; a lost source makes it 503."""
    async with server() as (session, state):
        source = SimpleNamespace(state=SourceState("folder /x", "running"), in_flight=3, pending=2, last_error=None)
        state.sources = (source,)
        async with session.get("/readyz") as response:
            assert response.status == 200
            assert await response.json() == {
                "ready": True,
                "reason": None,
                "model": {
                    "id": "colours",
                    "revision": None,
                    "fallback": False,
                    "wanted": None,
                    "engine": "colours",
                    "calibrated": False,
                },
                "labels": COLOURS.fingerprint,
                "sources": [{"name": "folder /x", "state": "running", "reason": None}],
            }
        source.state = SourceState("folder /x", "unavailable", "unmounted")
        async with session.get("/readyz") as response:
            assert response.status == 503
            assert (await response.json())["reason"] == "unmounted"


@pytest.mark.parametrize("prefix", ["data:image/png;base64,", "data:;base64,", ""])
async def test_a_photo_in_a_json_document_is_tagged(prefix):
    """As a data URL, as pages on phones send it, or as bare base64."""
    text = base64.b64encode(plain(RED)).decode()
    async with server() as (session, _), session.post("/tag", json={"file": prefix + text}) as response:
        assert (await response.json())[0]["label"] == "red"


@pytest.mark.parametrize(
    "body", ['{"file": 5}', '{"photo": ""}', '{"file": "data:image/png,x"}', '{"file": "%%%"}', "{", '{"a":' * 50_000]
)
async def test_a_json_document_without_a_photo_is_400(body):
    """And says what it needs."""
    headers = {"Content-Type": "application/json"}
    async with server() as (session, _), session.post("/tag", data=body, headers=headers) as response:
        assert "data:image/jpeg;base64" in (await problem(response, 400))["detail"]


async def test_a_photo_that_is_called_json_is_a_photo():
    """The content decides."""
    headers = {"Content-Type": "application/json"}
    async with server() as (session, _), session.post("/tag", data=plain(RED), headers=headers) as response:
        assert response.status == 200


async def test_labels_are_listed_without_none():
    """What can be a tag, group by group."""
    async with server() as (session, _), session.get("/labels") as response:
        assert (await response.json())["groups"] == [
            {
                "name": "species",
                "multi_label": False,
                "labels": ["red", "green"],
                "applies_to": {},
                "thresholds": {"red": 0.5, "green": 0.5},
            }
        ]


async def test_H07_every_route_but_health_asks_for_the_key():
    """401 before anything else, unknown routes included; in the query it does not count."""
    async with server(api_key="right") as (session, _):
        for path, headers in [
            ("/labels", {}),
            ("/nothing", {}),
            ("/labels?key=right", {}),
            ("/labels", {"Authorization": "Bearer wrong"}),
        ]:
            async with session.get(path, headers=headers) as response:
                await problem(response, 401)
        async with session.get("/labels", headers={"Authorization": "Bearer right"}) as response:
            assert response.status == 200
        for path in ("/healthz", "/readyz"):
            async with session.get(path) as response:
                assert response.status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:1"}, 200),
        ({"Host": "127.0.0.9"}, 200),
        ({"Host": "[::1]:7860"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost.evil.example"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
        ({"Host": "localhost:1", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost:1", "Origin": "null"}, 403),
        ({"Host": "localhost:1", "Origin": "http://["}, 403),
    ],
)
async def test_H08_a_request_from_another_origin_is_403(headers, status):
    """On loopback the Host must be loopback's own, and an Origin must equal it."""
    async with server() as (session, _), session.get("/labels", headers=headers) as response:
        assert response.status == status


async def test_H08_allowed_hosts_are_answered():
    """server.allowed_hosts says who else may be meant (a proxy on this machine passes its own name on)."""
    async with server(allowed_hosts=("pets.example",)) as (session, _):
        async with session.get("/labels", headers={"Host": "pets.example:7860"}) as response:
            assert response.status == 200
        async with session.get("/labels") as response:
            assert response.status == 200
        async with session.get("/labels", headers={"Host": "other.example"}) as response:
            assert response.status == 403


async def test_H06_a_broken_content_encoding_is_400():
    """A body that says gzip and is none."""
    async with server() as (session, _):
        for data in (b"ab", form(file=plain())):
            async with session.post(
                "/tag", data=data, headers={"Content-Encoding": "gzip"}, compress=False
            ) as response:
                await problem(response, 400)


async def test_H03_slow_senders_take_no_place():
    """With all places for four, four that dawdle do not keep a fifth from its answer."""

    async def slow():
        yield plain()[:10]
        await asyncio.sleep(30)

    async with server(max_pending=4, stall_timeout_s=2) as (session, _):
        dawdling = [asyncio.create_task(session.post("/tag", data=slow())) for _ in range(4)]
        await asyncio.sleep(0.2)
        async with session.post("/tag", data=plain()) as response:
            assert response.status == 200
        await asyncio.gather(*dawdling)


async def test_H05_a_flood_gets_503_and_is_served_afterwards():
    """More requests than may wait get 503; /healthz answers throughout; afterwards all is well."""
    model = ColourEngine()
    embed, model.embed = model.embed, lambda batch: (time.sleep(0.05), embed(batch))[1]
    async with server(model, max_pending=4) as (session, _):

        async def post() -> int:
            async with session.post("/tag", data=plain()) as response:
                return response.status

        statuses = await asyncio.gather(*(post() for _ in range(40)))
        async with session.get("/healthz") as response:
            assert response.status == 200
        assert set(statuses) == {200, 503}
        assert await post() == 200


async def test_H01_bytes_in_flight_are_bounded():
    """A body beyond the limit is refused for now; afterwards there is room again."""
    async with server(max_bytes_in_flight=1000) as (session, state):
        async with session.post("/tag", data=bytes(5000)) as response:
            await problem(response, 503)
        async with session.post("/tag", data=plain(size=(2, 2))) as response:
            assert response.status == 200
        assert (state.in_flight, state.bytes_in_flight) == (0, 0)


async def test_H06_malformed_http_is_400_and_the_server_continues():
    """Two lengths, a bad chunk, a bad request line."""
    async with server() as (session, _):
        address = str(session._base_url).rstrip("/")
        for request in (
            b"POST /tag HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
            b"POST /tag HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nabc\r\n",
            b"NONSENSE\r\n\r\n",
        ):
            assert b" 400 " in (await raw(address, request)).split(b"\r\n")[0]
        async with session.get("/healthz") as response:
            assert response.status == 200


async def test_H09_a_port_in_use_is_named():
    """The message says what to do."""
    async with server() as (session, _):
        taken = ServerState(Settings(server={"port": session._base_url.port}), COLOURS)
        with pytest.raises(PawtagError, match="another program listens there"):
            async with serve_http(taken):
                pass


async def test_H10_a_request_in_flight_is_answered_before_the_stop():
    """Closing waits for what is in flight."""
    model = ColourEngine()
    embed, model.embed = model.embed, lambda batch: (time.sleep(0.5), embed(batch))[1]
    state = ServerState(Settings(server={"port": 0}), COLOURS)
    async with colour_tagger(model).run() as tagger, aiohttp.ClientSession() as session:
        async with serve_http(state) as running:
            state.tagger = tagger
            asking = asyncio.create_task(session.post(f"{running.address}/tag", data=plain(BLUE)))
            async with asyncio.timeout(5):
                while not state.in_flight:
                    await asyncio.sleep(0.01)
        async with await asyncio.wait_for(asking, 5) as response:
            assert response.status == 200
            assert json.loads(await response.text()) == []


async def test_the_metrics_count_photos_and_requests(tmp_path):
    """Photos by source and status, requests by route and status; unknown routes have one name."""
    async with server() as (session, state):
        state.metrics = state.tagger.metrics
        state.observers.add(count_in(state.metrics))
        for data in (plain(RED), plain(BLUE), b"broken"):
            async with session.post("/tag", data=data) as response:
                await response.read()
        for path in ("/a", "/b"):
            async with session.get(path) as response:
                await response.read()
        async with session.get("/metrics") as response:
            assert response.content_type == "text/plain"
            text = await response.text()
    for line in (
        'pawtag_photos_total{source="request",status="tagged"} 1.0',
        'pawtag_photos_total{source="request",status="no-pet"} 1.0',
        'pawtag_photos_total{source="request",status="failed"} 1.0',
        'pawtag_http_requests_total{route="/tag",status="200"} 2.0',
        'pawtag_http_requests_total{route="/tag",status="400"} 1.0',
        'pawtag_http_requests_total{route="none",status="404"} 2.0',
        'pawtag_stage_duration_seconds_count{stage="model"} 2.0',
    ):
        assert line in text


async def test_the_openapi_description_matches_the_routes():
    """Every route and method that answers stands there, and nothing else; every answer seen is described."""
    async with server() as (session, _):
        async with session.get("/openapi.json") as response:
            described = await response.json()
        answered = {}
        for path in [*described["paths"], "/docs"]:
            address = path.replace("{name}", "style.css").replace("{id}", "1")
            for method in ("get", "post", "put", "patch", "delete"):
                async with session.request(method, address, data=plain(RED) if method == "post" else None) as response:
                    await response.read()
                    answered[path, method] = response.status
    there = {key for key, status in answered.items() if status not in (404, 405)}
    assert there == {(path, method) for path, methods in described["paths"].items() for method in methods}
    for path, method in there:
        assert str(answered[path, method]) in described["paths"][path][method]["responses"]


async def test_the_references_of_the_openapi_description_resolve():
    """Each $ref points at a schema that is there; the record's schema is the record's own."""
    async with server() as (session, _), session.get("/openapi.json") as response:
        text = await response.text()
    described = json.loads(text)
    schemas = described["components"]["schemas"]
    for name in text.split('"#/components/schemas/')[1:]:
        assert name.split('"')[0] in schemas
    assert schemas["Record"]["properties"]["tags"]


async def test_a_replacement_of_the_model_loses_no_request():
    """The old one answers those in flight, the new one those that come later."""
    async with server(model=SlowEngine(0.1)) as (session, state):

        async def ask() -> str:
            async with session.post("/tag?detail=record", data=plain(RED)) as response:
                assert response.status == 200
                return (await response.json())["fingerprint"]

        asked = [asyncio.create_task(ask()) for _ in range(10)]
        while state.in_flight < 10:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        draining = state.tagger.replace(colour_model(fingerprint="new"))
        state.note_model()
        assert await ask() == "new"
        assert set(await asyncio.gather(*asked)) == {"colours"}
        await draining


async def test_readyz_shows_the_progress_of_the_download():
    """While the wanted model is on its way; the reason says so where nothing serves meanwhile."""
    async with server(ready=False) as (session, state):
        state.download = lambda: DownloadProgress("org/model", 120_000_000, 605_000_000)
        async with session.get("/readyz") as response:
            document = await response.json()
    assert document["reason"] == "the model is being downloaded: 120 of 605 MB"
    assert document["download"]["done_bytes"] == 120_000_000


async def test_pushed_events_need_the_key():
    """In the header, or in the address for stores that know no header; and only where a bucket is set."""
    taken = []

    async def take(body: bytes) -> int:
        taken.append(body)
        return 1

    state = ServerState(Settings(server={"port": 0, "api_key": "secret"}, s3={"bucket": "pets"}), COLOURS)
    async with serve_http(state) as running, aiohttp.ClientSession(running.address) as session:
        async with session.post("/notifications/s3", data=b"{}") as response:
            await problem(response, 401)
        async with session.post("/notifications/s3?key=wrong", data=b"{}") as response:
            await problem(response, 401)
        async with session.post("/tag?key=secret", data=b"{}") as response:
            await problem(response, 401)
        async with session.post("/notifications/s3?key=secret", data=b"{}") as response:
            await problem(response, 503)
        state.accept_notification = take
        async with session.post("/notifications/s3?key=secret", data=b"{}") as response:
            assert await response.json() == {"photos": 1}
        async with session.post(
            "/notifications/s3", data=b"{}", headers={"Authorization": "Bearer secret"}
        ) as response:
            assert response.status == 200
    assert taken == [b"{}", b"{}"]
    async with server() as (session, _), session.post("/notifications/s3", data=b"{}") as response:
        await problem(response, 403)


async def test_an_answer_tells_the_status_of_the_photo():
    """An empty list alone tells nothing: there may be no pet, or one that is not sure."""
    async with server() as (session, _):
        for picture, status in ((plain(RED), "tagged"), (plain(BLUE), "no-pet"), (plain((255, 255, 150)), "unsure")):
            async with session.post("/tag?detail=record", data=picture) as response:
                assert response.headers["Pawtag-Status"] == (await response.json())["status"] == status
            async with session.post("/tag", data=picture) as response:
                assert response.headers["Pawtag-Status"] == status


@pytest.mark.parametrize(
    ("filename", "name"),
    [("mimi.jpg", "mimi.jpg"), ("C:\\photos\\mimi.jpg", "mimi.jpg"), ("photos/mimi.jpg", "mimi.jpg"), ("", None)],
)
async def test_the_record_of_an_upload_tells_the_name_of_its_file(filename, name):
    """Its base name, whatever the sender's system."""
    data = aiohttp.FormData(quote_fields=False)
    data.add_field("file", plain(RED), filename=filename)
    async with server() as (session, _), session.post("/tag?detail=record", data=data) as response:
        assert (await response.json())["photo"]["name"] == name


async def test_a_body_has_no_name():
    """Nothing tells it."""
    async with server() as (session, _), session.post("/tag?detail=record", data=plain(RED)) as response:
        assert (await response.json())["photo"]["name"] is None


@pytest.mark.parametrize(
    ("content_type", "body", "advice"),
    [
        ("application/x-www-form-urlencoded", b'{"file": "x"}', "--data-binary"),
        ("application/json", b'[{"file": "x"}]', "as the field 'file'"),
    ],
)
async def test_a_body_in_a_wrong_form_is_told_the_right_one(content_type, body, advice):
    """`curl -d` changes the bytes; a list is no photo."""
    async with server() as (session, _):
        headers = {"Content-Type": content_type}
        async with session.post("/tag", data=body, headers=headers) as response:
            assert advice in (await problem(response, 415))["detail"]


async def test_another_host_is_told_the_setting_and_its_value():
    """As it is written in the file and in the environment."""
    async with server() as (session, _), session.get("/labels", headers={"Host": "nas.local:7860"}) as response:
        detail = (await problem(response, 403))["detail"]
    assert """PAWTAG_SERVER__ALLOWED_HOSTS='["nas.local"]'""" in detail


async def test_what_is_posted_is_told_to_the_observers():
    """As photos of any other source are."""
    async with server() as (session, state):
        outcomes = []
        state.observers.add(outcomes.append)
        for data in (plain(RED), b"broken"):
            async with session.post("/tag", data=data) as response:
                await response.read()
    assert [each.record.status for each in outcomes] == ["tagged", "failed"]


@pytest.mark.parametrize("filename", ["cat.jpg", "a;b.jpg", "a; b; c.jpg", "quo%22te.jpg", "кот.jpg", "a=b;name=x.jpg"])
async def test_H02_H11_any_file_name_may_stand_in_a_form(filename):
    """Two semicolons, quotes as browsers escape them, other alphabets: the photo is found, and its name kept."""
    body = build_form(f'Content-Disposition: form-data; name="file"; filename="{filename}"', plain())
    async with server() as (session, _), session.post("/tag?detail=record", data=body, headers=FORM) as response:
        assert response.status == 200
        assert (await response.json())["photo"]["name"] == filename


async def test_H02_a_name_in_the_extended_form_is_read():
    """RFC 5987, which RFC 7578 forbids and some clients send."""
    body = build_form("Content-Disposition: form-data; name=file; filename*=UTF-8''k%C3%A4tzchen.jpg", plain())
    async with server() as (session, _), session.post("/tag?detail=record", data=body, headers=FORM) as response:
        assert (await response.json())["photo"]["name"] == "kätzchen.jpg"


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [("base64", base64.encodebytes), ("quoted-printable", partial(binascii.b2a_qp, istext=False)), ("binary", bytes)],
)
async def test_H02_an_encoded_part_is_decoded(encoding, encode):
    """curl's encoder=base64, and what mail programs send."""
    head = f'Content-Disposition: form-data; name="file"; filename="a"\r\nContent-Transfer-Encoding: {encoding}'
    body = build_form(head, encode(plain(size=(200, 150))))
    async with server() as (session, _), session.post("/tag", data=body, headers=FORM) as response:
        assert response.status == 200


async def test_H02_a_part_that_is_no_base64_is_400():
    """It says that it is, and is not."""
    head = 'Content-Disposition: form-data; name="file"; filename="a"\r\nContent-Transfer-Encoding: base64'
    async with server() as (session, _), session.post("/tag", data=build_form(head, b"a"), headers=FORM) as response:
        await problem(response, 400)


async def test_H02_an_empty_file_input_and_a_charset_are_passed_over():
    """Browsers send an input that was left empty; _charset_ comes first (RFC 7578, 4.6)."""
    parts = [
        ('Content-Disposition: form-data; name="_charset_"', b"utf-8"),
        ('Content-Disposition: form-data; name="file"; filename="a.png"', plain()),
        ('Content-Disposition: form-data; name="file"; filename=""', b""),
    ]
    body = b"".join(build_form(*part, is_last=False) for part in parts) + f"--{BOUNDARY}--\r\n".encode()
    async with server() as (session, _), session.post("/tag", data=body, headers=FORM) as response:
        assert response.status == 200


FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def build_form(head: str, content: bytes, *, is_last: bool = True) -> bytes:
    end = f"--{BOUNDARY}--\r\n" if is_last else ""
    return f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + content + f"\r\n{end}".encode()


async def test_H03_silent_connections_take_no_place_of_others():
    """Forty sockets that send nothing, sixteen places: requests are answered at once, and the sockets are closed."""
    async with server(max_connections=16) as (session, _):
        host, port = str(session._base_url).removeprefix("http://").strip("/").split(":")
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(40)]
        for _ in range(5):
            started_s = time.monotonic()
            async with session.get("/healthz") as response:
                assert response.status == 200
            assert time.monotonic() - started_s < 5
        closed = await asyncio.gather(*(is_closed(reader) for reader, _ in silent))
        assert sum(closed) >= 40 - 16
        for _, writer in silent:
            writer.close()


async def is_closed(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(1), 0.2) == b""
    except (ConnectionError, TimeoutError) as error:
        return isinstance(error, ConnectionError)


async def test_H03_a_connection_without_a_request_is_closed(monkeypatch):
    """After a time; a slow head is no request."""
    monkeypatch.setattr("pawtag.server.application.HEAD_TIMEOUT_S", 0.3)
    async with server() as (session, _):
        host, port = str(session._base_url).removeprefix("http://").strip("/").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x")
        assert await asyncio.wait_for(reader.read(1), 3) == b""
        writer.close()


async def test_H05_a_connection_more_than_may_be_open_gets_503(caplog):
    """All others are at work: nobody is thrown out for it, and the log stays silent."""
    engine = HeldEngine()
    async with server(engine, max_connections=2) as (session, state):
        host, port = str(session._base_url).removeprefix("http://").strip("/").split(":")
        working = [asyncio.create_task(post_alone(session._base_url, plain())) for _ in range(2)]
        async with asyncio.timeout(10):
            while state.in_flight < 2:
                await asyncio.sleep(0.02)
        for _ in range(5):
            answer = await raw(f"http://{host}:{port}", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After" in answer
        engine.may_answer.set()
        assert await asyncio.gather(*working) == [200, 200]
    gc.collect()
    assert "never retrieved" not in caplog.text


class HeldEngine(ColourEngine):
    """A model that answers once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = threading.Event()

    def embed(self, batch):
        self.may_answer.wait(20)
        return super().embed(batch)


async def test_H03_idle_connections_make_room_for_others():
    """A client that keeps every place with a request now and then does not shut the others out."""
    async with server(max_connections=4) as (session, _):
        host, port = str(session._base_url).removeprefix("http://").strip("/").split(":")
        kept = []
        for _ in range(4):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b"}")
            kept.append(writer)
        await asyncio.sleep(0.8)
        for _ in range(3):
            answer = await raw(
                f"http://{host}:{port}", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )
            assert answer.startswith(b"HTTP/1.1 200 ")
        for writer in kept:
            writer.close()


async def post_alone(address, data: bytes) -> int:
    async with aiohttp.ClientSession(address) as session, session.post("/tag", data=data) as response:
        return response.status


async def test_H07_a_key_with_a_newline_at_its_end_is_the_key():
    """Kubernetes secrets made with echo have one."""
    async with server(api_key="secret\n") as (session, _):
        async with session.get("/labels", headers={"Authorization": "Bearer secret"}) as response:
            assert response.status == 200
        async with session.get("/labels", headers={"Authorization": "Bearer other"}) as response:
            await problem(response, 401)


async def test_H02_any_damage_to_a_form_is_answered():
    """Bytes of a form changed, removed, doubled at random: a photo or the sender's mistake, never an error of ours."""
    chance = random.Random(0)
    whole = build_form('Content-Disposition: form-data; name="file"; filename="a.png"', plain())
    async with server() as (session, _):
        for _ in range(150):
            body = bytearray(whole)
            for _ in range(chance.randint(1, 6)):
                start = chance.randrange(len(body))
                body[start : start + chance.choice((0, 1, 8))] = chance.randbytes(chance.choice((0, 1, 8)))
            async with session.post("/tag", data=bytes(body), headers=FORM) as response:
                assert response.status in (200, 400, 408, 413, 415), bytes(body[:200])
