"""The webhook: posts announcements to one address, and keeps those that are not accepted."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from pawtag import __version__
from pawtag.config import WebhookSettings
from pawtag.domain.backoff import Backoff
from pawtag.domain.errors import TemporaryError
from pawtag.outputs.signature import build_headers, decode_secret
from pawtag.state.outbox import Outbox, OutboxRow

log = logging.getLogger(__name__)

TIMEOUT_S = 5.0
BACKOFF = Backoff(first_s=5.0, max_s=3600.0, jitter=0.25)
MAX_AT_ONCE = 4
ACCEPTED, MULTIPLE_CHOICES, BAD_REQUEST = 200, 300, 400
MAX_PAUSE_S = 60.0  # a receiver that works again gets waiting announcements within this time
WARNING_INTERVAL_S = 60.0


@dataclass(frozen=True, slots=True)
class WebhookTuning:
    """Waits of the webhook, which tests shorten."""

    poll_s: float = 1.0
    clean_s: float = 60.0
    backoff: Backoff = BACKOFF


class Webhook:
    """Sends what is in the outbox. `on_attempt` hears of each try: "delivered" or "failed"."""

    def __init__(
        self,
        settings: WebhookSettings,
        outbox: Outbox,
        on_attempt: Callable[[str], None] = lambda _: None,
        tuning: WebhookTuning | None = None,
    ) -> None:
        """Raises ConfigError for a secret that is not understood."""
        assert settings.url
        self._url, self._outbox, self._on_attempt = str(settings.url), outbox, on_attempt
        self._name = f"{settings.url.scheme}://{settings.url.host}:{settings.url.port}"  # a path may hold a secret
        self._key = decode_secret(settings.secret.get_secret_value()) if settings.secret else None
        self._tuning = tuning or WebhookTuning()
        self.pending = 0
        """How many announcements wait; the number is updated once a minute."""
        self._failed_rounds = 0
        self._said: str | None = None
        self._said_at_s = -WARNING_INTERVAL_S
        self._cleaned_at_s = -self._tuning.clean_s

    async def run(self) -> None:
        """Send what is due, again and again, until cancelled."""
        async with self.connect() as session:
            while True:
                pause_s = self._tuning.poll_s
                try:
                    await self._clean()
                    pause_s = await self._send_due(session)
                except TemporaryError as error:  # code that must write to the state reports the fault
                    log.debug("%s", error)
                except Exception:  # whatever it is must not end the webhook for ever
                    log.exception("unexpected error of the webhook")
                await asyncio.sleep(pause_s)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[aiohttp.ClientSession]:
        """A session for `post`."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        headers = {"User-Agent": f"pawtag/{__version__}"}
        async with aiohttp.ClientSession(
            timeout=timeout, headers=headers, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        ) as session:
            yield session

    async def post(self, session: aiohttp.ClientSession, message_id: str, body: bytes) -> str | None:
        """Post one message. Returns why it was not accepted, or None if it was."""
        headers = build_headers(message_id, int(time.time()), body, self._key)
        try:
            async with session.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
                return _explain(answer)
        except TimeoutError:
            return f"it did not answer within {TIMEOUT_S:.0f} s"
        except aiohttp.ClientConnectorError as error:
            return error.strerror or str(error.os_error)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"its answer is not understood ({type(error).__name__})"  # the text has the path, maybe a secret

    async def _send_due(self, session: aiohttp.ClientSession) -> float:
        """Send a few announcements; returns the pause after them. The pause grows while the receiver accepts none."""
        rows = await asyncio.to_thread(self._outbox.list_due, MAX_AT_ONCE if not self._failed_rounds else 1)
        problems = await asyncio.gather(*(self._send(session, row) for row in rows))
        if not rows:
            return self._tuning.poll_s
        self._say(next(filter(None, problems), None))
        if not all(problems):
            self._failed_rounds = 0
            return 0.0
        self._failed_rounds += 1
        return min(MAX_PAUSE_S, self._tuning.backoff.delay_s(self._failed_rounds - 1))

    async def _send(self, session: aiohttp.ClientSession, row: OutboxRow) -> str | None:
        problem = await self.post(session, row.id, row.body.encode())
        self._on_attempt("failed" if problem else "delivered")
        if problem:
            delay_s = self._tuning.backoff.delay_s(row.attempt, random_fraction=random.random())
            await self._outbox.postpone(row, delay_s)
        else:
            await self._outbox.remove(row)
        return problem

    def _say(self, problem: str | None) -> None:
        """Log the start and the end of a fault, each once, and not every announcement that the receiver refuses."""
        now_s = time.monotonic()
        if problem and problem != self._said and now_s - self._said_at_s > WARNING_INTERVAL_S:
            log.warning("the webhook %s does not accept announcements: %s; pawtag tries again", self._name, problem)
            self._said, self._said_at_s = problem, now_s
        elif problem is None and self._said:
            log.info("the webhook %s accepts announcements again", self._name)
            self._said = None

    async def _clean(self) -> None:
        """Once a minute: take over the announcements of processes that ended, and drop those that are too old."""
        if time.monotonic() - self._cleaned_at_s < self._tuning.clean_s:
            return
        self._cleaned_at_s = time.monotonic()
        await asyncio.to_thread(self._outbox.adopt)
        if dropped := await asyncio.to_thread(self._outbox.drop_oldest):
            log.warning("the webhook never accepted %d announcements; they are dropped", dropped)
        self.pending = await asyncio.to_thread(self._outbox.count)


def _explain(answer: aiohttp.ClientResponse) -> str | None:
    if ACCEPTED <= answer.status < MULTIPLE_CHOICES:
        return None
    if answer.status < BAD_REQUEST:
        return (
            f"it answers {answer.status} and names {answer.headers.get('Location', 'nothing')}: set webhook.url to that"
        )
    return f"it answers {answer.status}"
