"""A receiver of webhooks, which answers as a test wants."""

import base64
import hashlib
import hmac
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

SECRET = "whsec_" + base64.b64encode(b"a key of the tests").decode()


@dataclass
class Receiver:
    """`answers`: statuses for the next messages, then 204. `seen`: (id, document) of all, also refused ones."""

    answers: list[int] = field(default_factory=list)
    seen: list[tuple[str, dict]] = field(default_factory=list)
    taken: list[tuple[str, dict]] = field(default_factory=list)
    moved_to: list[str] = field(default_factory=list)
    address: str = ""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        assert is_signed(request, body)
        message = (request.headers["webhook-id"], json.loads(body))
        self.seen.append(message)
        status = self.answers.pop(0) if self.answers else 204
        if status < 300:
            self.taken.append(message)
        return web.Response(status=status, headers={"Location": f"{self.address}/moved"})

    async def note_moved(self, request: web.Request) -> web.Response:
        self.moved_to.append(request.path)
        return web.Response()


def is_signed(request: web.Request, body: bytes) -> bool:
    """As a receiver verifies it."""
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    text = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + body
    right = "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    return hmac.compare_digest(request.headers["webhook-signature"], right)


@asynccontextmanager
async def receiving(receiver: Receiver, port: int = 0):
    """The receiver at `receiver.address`."""
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    app.router.add_route("*", "/moved", receiver.note_moved)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    host, port = runner.addresses[0][:2]
    receiver.address = f"http://{host}:{port}"
    try:
        yield receiver
    finally:
        await runner.cleanup()
