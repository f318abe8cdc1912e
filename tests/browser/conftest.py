"""A real browser, and the real daemon that it shows. Both skip where there is no browser."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.process import Daemon, daemon

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
# No look-ups of its own: here is no network, and nothing must be asked of it.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    """Chromium, driven by Playwright, whose event loop must end before another module has its own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed; ./scripts/browser.sh")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium; ./scripts/browser.sh")
    with playwright.sync_playwright() as running:
        launched = running.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


class Pages:
    """Opens pages, and notes their errors."""

    def __init__(self, browser) -> None:
        self._browser, self._contexts, self.errors = browser, [], []

    def __call__(self, address: str, *, allow_errors: bool = False, **options):
        """A new page, with a storage of its own. `allow_errors`: what the browser says of answers is expected."""
        context = self._browser.new_context(**options)
        self._contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        if not allow_errors:
            page.on("console", self._note)
        page.goto(address)
        return page

    def _note(self, message) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} {message.location.get('url')}")

    def close(self) -> None:
        """Close all."""
        while self._contexts:
            self._contexts.pop().close()


@pytest.fixture
def open_page(browser):
    """Opens pages; an error on one of them that no test expects fails the test."""
    pages = Pages(browser)
    yield pages
    pages.close()
    assert pages.errors == []


@pytest.fixture
def start(tmp_path, open_page):
    """Starts a daemon that watches `tmp_path / photos`; pages are closed before it ends."""
    (tmp_path / "photos").mkdir()

    @contextmanager
    def run(**settings: str) -> Iterator[Daemon]:
        own = {
            "PAWTAG_MODEL__ID": "embedded",
            "PAWTAG_STATE__DIR": str(tmp_path / "state"),
            "PAWTAG_FOLDER__STABLE_S": "0.5",
            "PAWTAG_FOLDER__SETTLE_S": "0.2",
        }
        with daemon(tmp_path, "--watch", tmp_path / "photos", **own, **settings) as running:
            yield running
            open_page.close()

    return run
