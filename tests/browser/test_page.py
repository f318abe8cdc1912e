"""The page in a real browser, as a person uses it."""

import asyncio
import os
import shutil
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from support.pictures import plain
from support.process import command, free_port, sidecar

pytestmark = pytest.mark.timeout(120)

WITHIN_MS = 10_000
MARKUP = "<img src=x onerror=alert(1)> & 'quotes'.png"


def put(folder: Path, name: str, data: bytes) -> Path:
    """A photo that is finished: moved in, and old."""
    path = folder / name
    temporary = folder / f".{len(name)}.part"
    temporary.write_bytes(data)
    os.utime(temporary, (1_700_000_000, 1_700_000_000))
    return temporary.rename(path)


def names(page) -> list[str]:
    """The names of the cards, in their order."""
    return page.locator("#photos .card .name span").all_inner_texts()


def wait_for_cards(page, count: int) -> None:
    """Without a script of its own: the page's policy allows none."""
    from playwright.sync_api import expect

    expect(page.locator("#photos .card")).to_have_count(count, timeout=WITHIN_MS)


def wait_for_thumbnail(page) -> None:
    """Of the photo that has one: drawn, and as wide as it is made."""
    image = page.locator("#photos img").first
    deadline_s = time.monotonic() + WITHIN_MS / 1000
    while image.evaluate("(image) => image.naturalWidth") != 320:
        assert time.monotonic() < deadline_s
        page.wait_for_timeout(50)


def press(page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def test_a_photo_that_is_chosen_gets_its_tags_with_scores_and_a_reason(start, open_page, chelsea):
    """And is not kept."""
    with start() as daemon:
        page = open_page(daemon.address)
        page.set_input_files("#choose", [chelsea])
        card = page.locator("#tried .card[aria-busy=false]")
        card.wait_for()
        assert "cat" in card.locator(".chip").all_inner_texts()
        assert "reaches its threshold" in card.inner_text()
        assert card.locator("meter").count() >= 3
        assert page.locator("#photos .card").count() == 0


def test_photos_that_are_dropped_and_pasted_are_tagged_and_a_broken_one_says_why(start, open_page, chelsea):
    """Several at once, the newest first."""
    transfer = """async ([event, content]) => {
      const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
      const transfer = new DataTransfer();
      transfer.items.add(new File([bytes], `${event}.png`, {type: 'image/png'}));
      transfer.items.add(new File(['no picture'], 'broken.png', {type: 'image/png'}));
      const target = document.getElementById('drop');
      if (event === 'drop') target.dispatchEvent(new DragEvent('drop', {dataTransfer: transfer, bubbles: true}));
      else document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: transfer, bubbles: true}));
    }"""
    import base64

    content = base64.b64encode(chelsea.read_bytes()).decode()
    with start() as daemon:
        page = open_page(daemon.address, allow_errors=True)  # the browser itself names the 400
        for event in ("drop", "paste"):
            page.evaluate(transfer, [event, content])
        page.locator("#tried .card[aria-busy=false]").nth(3).wait_for()
        assert page.locator("#tried .chip", has_text="cat").count() == 2
        assert (
            page.locator("#tried [role=alert]").all_inner_texts()
            == ["This is no picture that pawtag reads (JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF)."] * 2
        )


def test_the_feed_shows_photos_as_they_come_newest_first(start, open_page, tmp_path, chelsea):
    """With a thumbnail, the tags and the time; by status; one that is removed goes."""
    with start() as daemon:
        page = open_page(daemon.address)
        page.get_by_text("No photo yet").wait_for()
        put(tmp_path / "photos", "a.png", chelsea.read_bytes())
        wait_for_cards(page, 1)
        broken = put(tmp_path / "photos", "b.png", b"no picture")
        wait_for_cards(page, 2)
        assert names(page) == ["b.png", "a.png"]
        wait_for_thumbnail(page)
        assert "cat" in page.locator("#photos .card").nth(1).locator(".chip").all_inner_texts()
        press(page, "failed")
        wait_for_cards(page, 1)
        assert names(page) == ["b.png"]
        press(page, "all")
        wait_for_cards(page, 2)
        broken.unlink()
        wait_for_cards(page, 1)


def test_a_lost_connection_is_said_and_mended_without_gaps_and_doubles(start, open_page, tmp_path):
    """The daemon is stopped and started again; photos that came meanwhile are there once."""
    port = free_port()
    with start() as daemon, forwarding(port, daemon.address) as target:
        put(tmp_path / "photos", "a.png", plain())
        page = open_page(f"http://127.0.0.1:{port}", allow_errors=True)
        wait_for_cards(page, 1)
        assert daemon.stop() == 0
        page.get_by_text("Connection lost").wait_for()
        put(tmp_path / "photos", "b.png", plain((1, 2, 3)))
        with start() as again:
            target["address"] = again.address
            wait_for_cards(page, 2)
            page.get_by_text("Connection lost").wait_for(state="hidden")
            put(tmp_path / "photos", "c.png", plain((4, 5, 6)))
            wait_for_cards(page, 3)
            assert sorted(names(page)) == ["a.png", "b.png", "c.png"]


def test_a_thumbnail_that_the_connection_lost_is_asked_for_again(start, open_page, tmp_path, chelsea):
    """It does not stay without a picture."""
    with start() as daemon:
        put(tmp_path / "photos", "a.png", chelsea.read_bytes())
        page = open_page(daemon.address, allow_errors=True)
        page.route("**/thumbnail", lambda route: route.abort(), times=1)
        wait_for_cards(page, 1)
        wait_for_thumbnail(page)


def test_one_photo_is_mended_with_one_click_and_undone(start, open_page, tmp_path, chelsea):
    """From its details; the sidecar has it at once."""
    with start() as daemon:
        path = put(tmp_path / "photos", "a.png", chelsea.read_bytes())
        page = open_page(daemon.address)
        wait_for_cards(page, 1)
        press(page, "Details of a.png")
        details = page.locator("#details")
        details.get_by_text("reaches its threshold").first.wait_for()
        details.get_by_role("button", name="dog", exact=True).click()
        details.get_by_role("button", name="Correct", exact=True).click()
        page.get_by_text("1 photo is corrected.").wait_for()
        assert sidecar(path)["corrected"] == {"species": ["dog"]}
        assert "dog ✓" in page.locator("#photos .chip").all_inner_texts()
        press(page, "Undo")
        page.get_by_text("1 photo is as before.").wait_for()
        assert sidecar(path)["corrected"] is None
        assert "cat" in page.locator("#photos .chip").all_inner_texts()


def test_twenty_photos_are_mended_at_once(start, open_page, tmp_path):
    """Selected together, with species and coat; one undo takes all back."""
    with start() as daemon:
        paths = [put(tmp_path / "photos", f"{number:02}.png", plain((number, 99, 7))) for number in range(20)]
        page = open_page(daemon.address)
        wait_for_cards(page, 20)
        press(page, "Select all shown")
        bar = page.locator("#selection")
        bar.get_by_role("button", name="rabbit", exact=True).click()
        bar.get_by_role("button", name="long-hair", exact=True).click()
        bar.get_by_role("button", name="Correct 20 photos").click()
        page.get_by_text("20 photos are corrected.").wait_for()
        assert all(sidecar(path)["corrected"] == {"species": ["rabbit"], "coat": ["long-hair"]} for path in paths)
        assert page.locator("#photos .chip.corrected").count() == 40
        press(page, "Undo")
        page.get_by_text("20 photos are as before.").wait_for()
        assert all(sidecar(path)["corrected"] is None for path in paths)


def test_failed_photos_are_grouped_by_reason_and_retried(start, open_page, tmp_path):
    """One reason, or all."""
    with start() as daemon:
        folder = tmp_path / "photos"
        put(folder, "a.png", b"no picture")
        put(folder, "b.png", b"no picture either")
        put(folder, "c.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>")
        page = open_page(daemon.address)
        wait_for_cards(page, 3)
        press(page, "failed")
        page.get_by_text("2 failed: not-an-image").wait_for()
        page.get_by_text("1 failed: unsupported").wait_for()
        press(page, "Retry all")
        page.get_by_text("0 of 3 photos are tagged now.").wait_for()
        for name in ("a.png", "b.png"):
            (folder / name).write_bytes(plain())
        page.get_by_role("button", name="Retry the 2 photos").click()
        page.get_by_text("2 of 2 photos are tagged now.").wait_for()
        wait_for_cards(page, 1)


def test_two_species_and_a_coat_are_mended_on_several_photos(start, open_page, tmp_path):
    """A coat goes with those that have one; a correction by the command line stays, and Undo brings it back."""
    with start() as daemon:
        paths = [put(tmp_path / "photos", f"{number}.png", plain((number, 99, 7))) for number in range(2)]
        page = open_page(daemon.address)
        wait_for_cards(page, 2)
        done = command("correct", paths[0], "--species", "dog", home=tmp_path, PAWTAG_MODEL__ID="embedded")
        assert done.returncode == 0, done.stderr
        press(page, "Select all shown")
        bar = page.locator("#selection")
        for label in ("cat", "dog", "short-hair"):
            bar.get_by_role("button", name=label, exact=True).click()
        bar.get_by_role("button", name="Correct 2 photos").click()
        page.get_by_text("2 photos are corrected.").wait_for()
        assert [sidecar(path)["corrected"] for path in paths] == [
            {"species": ["cat", "dog"], "coat": ["short-hair"]}
        ] * 2
        press(page, "Undo")
        page.get_by_text("2 photos are as before.").wait_for()
        assert [sidecar(path)["corrected"] for path in paths] == [{"species": ["dog"]}, None]


def test_a_library_that_was_tagged_before_is_shown_at_the_first_start(start, open_page, tmp_path, chelsea):
    """Without its state, as after an upgrade: also what has failed."""
    with start() as daemon:
        for name, data in {"a.png": chelsea.read_bytes(), "b.png": b"no picture"}.items():
            sidecar(put(tmp_path / "photos", name, data))
        assert daemon.stop() == 0
    shutil.rmtree(tmp_path / "state")
    with start() as daemon:
        page = open_page(daemon.address)
        wait_for_cards(page, 2)
        assert sorted(names(page)) == ["a.png", "b.png"]


def test_the_key_is_asked_for_once_and_never_stands_in_an_address(start, open_page, tmp_path):
    """A wrong one is asked for again; after a reload it is still known."""
    requests: list[str] = []
    with start(PAWTAG_SERVER__API_KEY="right") as daemon:
        put(tmp_path / "photos", "a.png", plain())
        sidecar(tmp_path / "photos/a.png")
        page = open_page("about:blank", allow_errors=True)
        page.on("request", lambda request: requests.append(request.url))
        page.goto(daemon.address)
        page.locator("#key[open]").wait_for()
        for _ in range(2):  # a browser closes a dialog at the second one
            page.keyboard.press("Escape")
        for key in ("wrong", "sesam€", "right"):
            page.locator("#key[open]").wait_for()
            page.fill("#key-value", key)
            press(page, "Continue")
        wait_for_cards(page, 1)
        page.reload()
        wait_for_cards(page, 1)
        assert page.locator("#key[open]").count() == 0
    assert not [url for url in requests if "right" in url or "wrong" in url]


def test_below_a_path_prefix_the_page_works(start, open_page, tmp_path, chelsea):
    """As behind Home Assistant's ingress, or another proxy."""
    with start() as daemon, forwarding(port := free_port(), daemon.address, prefix="/pets/x"):
        put(tmp_path / "photos", "a.png", chelsea.read_bytes())
        page = open_page(f"http://127.0.0.1:{port}/pets/x/")
        wait_for_cards(page, 1)
        wait_for_thumbnail(page)
        page.set_input_files("#choose", [chelsea])
        page.locator("#tried .chip", has_text="cat").wait_for()
        put(tmp_path / "photos", "b.png", plain())
        wait_for_cards(page, 2)
        open_page.close()


def test_names_of_files_are_text_and_never_markup(start, open_page, tmp_path):
    """Also in the details."""
    with start() as daemon:
        put(tmp_path / "photos", MARKUP, plain())
        page = open_page(daemon.address)
        page.on("dialog", lambda _: pytest.fail("a file's name was run"))
        wait_for_cards(page, 1)
        assert names(page) == [MARKUP]
        page.get_by_role("button", name="Details").click()
        assert page.locator("#details-title").inner_text() == MARKUP


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_accessibility_check_finds_nothing(start, open_page, tmp_path, chelsea, scheme):
    """Labels, contrast, roles: axe-core, with cards, selection, details and failed photos on the page."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with start() as daemon:
        put(tmp_path / "photos", "a.png", chelsea.read_bytes())
        put(tmp_path / "photos", "b.png", b"no picture")
        page = open_page(daemon.address, color_scheme=scheme)
        wait_for_cards(page, 2)
        page.set_input_files("#choose", [chelsea])
        page.locator("#tried .chip", has_text="cat").wait_for()
        press(page, "Select all shown")
        assert find_violations(axe, page) == []
        press(page, "Details of a.png")
        page.locator("#details[open] meter").first.wait_for()
        assert find_violations(axe, page) == []


def find_violations(axe, page) -> list[tuple]:
    found = axe.run(page).response["violations"]
    return [(each["id"], each["impact"], [node["html"][:100] for node in each["nodes"]]) for each in found]


def test_the_keyboard_alone_is_enough(start, open_page, tmp_path):
    """Tab, space and enter: a photo is selected, corrected, and the correction is undone."""
    with start() as daemon:
        path = put(tmp_path / "photos", "a.png", plain())
        page = open_page(daemon.address)
        wait_for_cards(page, 1)
        tab_to(page, "input[type=checkbox]")
        page.keyboard.press("Space")
        tab_to(page, "[data-chip='species bird']", backwards=True)
        page.keyboard.press("Enter")
        tab_to(page, "#selection button.main")
        page.keyboard.press("Enter")
        page.get_by_text("1 photo is corrected.").wait_for()
        assert sidecar(path)["corrected"] == {"species": ["bird"]}


def tab_to(page, selector: str, *, backwards: bool = False) -> None:
    """Press tab until the element has the focus."""
    for _ in range(60):
        page.keyboard.press("Shift+Tab" if backwards else "Tab")
        if page.evaluate("selector => document.activeElement?.matches(selector)", selector):
            return
    pytest.fail(f"{selector} is not reached by the keyboard")


def test_on_a_phone_nothing_is_wider_than_the_screen(start, open_page, tmp_path, chelsea):
    """And what is touched is large enough."""
    with start() as daemon:
        put(tmp_path / "photos", "a_name_that_is_long_and_has_no_space_in_it_at_all.png", chelsea.read_bytes())
        page = open_page(daemon.address, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
        wait_for_cards(page, 1)
        press(page, "Select all shown")
        page.locator("#selection").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        heights = page.evaluate(
            "[...document.querySelectorAll('button')].filter(b => b.offsetParent).map(b => b.offsetHeight)"
        )
        assert min(heights) >= 36


def test_the_state_names_model_and_progress(start, open_page, tmp_path):
    """The model that serves, and how far a backlog is."""
    with start() as daemon:
        put(tmp_path / "photos", "a.png", plain())
        page = open_page(daemon.address)
        page.get_by_text("Ready. pawtag").wait_for()
        page.get_by_text("1 photos are done since the start").wait_for()
        shutil.rmtree(tmp_path / "photos")
        page.get_by_text("is unavailable").wait_for()


@contextmanager
def forwarding(port: int, address: str, prefix: str = ""):
    """A proxy on `port` that passes what is below `prefix` on to `address`, which may be changed."""
    target = {"address": address}
    ready, stopping = threading.Event(), threading.Event()

    async def forward(request: web.Request) -> web.StreamResponse:
        path = request.raw_path.removeprefix(prefix)
        headers = {name: value for name, value in request.headers.items() if name.lower() != "content-length"}
        body = await request.read()
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, target["address"] + path, headers=headers, data=body or None) as found,
        ):
            response = web.StreamResponse(status=found.status, headers={"Content-Type": found.headers["Content-Type"]})
            await response.prepare(request)
            async for chunk in found.content.iter_any():
                await response.write(chunk)
        return response

    async def serve() -> None:
        app = web.Application()
        app.router.add_route("*", f"{prefix}/{{path:.*}}", forward)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        ready.set()
        await asyncio.to_thread(stopping.wait)
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield target
    finally:
        stopping.set()
        thread.join(10)
