"""The folder end to end: real files, real events, a tagger that sees colours."""

import asyncio
import json
import os
import shutil
import subprocess
import time

import pytest

from pawtag.app.runner import run_in_background
from pawtag.app.wiring import build_folder_runner, resolve_folder
from pawtag.cli.scan import _stop_when_drained
from pawtag.config import Settings
from pawtag.folder.sidecars import Sidecars
from pawtag.folder.source import FolderSource
from pawtag.folder.tuning import FolderTuning
from support.doubles import ColourEngine, colour_tagger
from support.folder import TIMEOUT_S, drained, old, sidecar, tagged, watching
from support.pictures import BLUE, GREEN, RED, plain
from support.pipeline import open_parts

# A backlog of ten photos, whatever their age.
SMALL_BACKLOG = FolderTuning(stable_age_s=-1, max_backlog=10)


async def test_F01_a_copied_photo_is_tagged(tmp_path):
    """cp: created, written, closed."""
    async with watching(tmp_path):
        (tmp_path / "a.png").write_bytes(plain())
        record = await tagged(tmp_path / "a.png")
    assert record["photo"]["name"] == "a.png"
    assert record["source"]["mtime_ns"] == (tmp_path / "a.png").stat().st_mtime_ns


async def test_F02_photos_without_a_close_event_are_tagged(tmp_path):
    """Moved in from elsewhere, hard-linked, renamed over another."""
    outside = tmp_path / "outside"
    outside.mkdir()
    root = tmp_path / "root"
    root.mkdir()
    for name in ("moved.png", "linked.png", "over.png"):
        old(outside / name, plain())
    async with watching(root):
        (root / "over2.png").write_bytes(plain(GREEN))
        await tagged(root / "over2.png", "green")
        os.rename(outside / "moved.png", root / "moved.png")
        os.link(outside / "linked.png", root / "linked.png")
        os.rename(outside / "over.png", root / "over2.png")
        for name in ("moved.png", "linked.png", "over2.png"):
            await tagged(root / name)


async def test_F03_whole_trees_are_tagged(tmp_path):
    """A tree moved in, and folders made with files in them at once."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    (outside / "a/b").mkdir(parents=True)
    root.mkdir()
    old(outside / "a/b/deep.png", plain())
    old(outside / "a/top.png", plain())
    async with watching(root):
        os.rename(outside / "a", root / "a")
        (root / "x/y/z").mkdir(parents=True)
        (root / "x/y/z/new.png").write_bytes(plain())
        for name in ("a/b/deep.png", "a/top.png", "x/y/z/new.png"):
            await tagged(root / name)
        (root / "a/b/later.png").write_bytes(plain())
        await tagged(root / "a/b/later.png")


async def test_F01_a_slow_writer_gets_one_record_of_the_whole_file(tmp_path):
    """Written in pieces with pauses longer than settle_s, while it holds the file open."""
    model, data = ColourEngine(), plain(size=(300, 200), kind="BMP")
    async with watching(tmp_path, model):
        with (tmp_path / "a.bmp").open("wb") as file:
            for first in range(0, len(data), len(data) // 5):
                file.write(data[first : first + len(data) // 5])
                file.flush()
                await asyncio.sleep(0.3)
        await tagged(tmp_path / "a.bmp")
    assert sum(model.batches) == 1


async def test_F01_a_writer_that_closes_between_pieces_leaves_no_truncated_record(tmp_path):
    """Append, close, pause, again: never `truncated`, in the end the whole file."""
    data, seen = plain(size=(300, 200), kind="JPEG", quality=95), []
    async with watching(tmp_path):
        for first in range(0, len(data), len(data) // 4 + 1):
            with (tmp_path / "a.jpg").open("ab") as file:
                file.write(data[first : first + len(data) // 4 + 1])
            await asyncio.sleep(0.5)
            seen.append(sidecar(tmp_path / "a.jpg"))
        await tagged(tmp_path / "a.jpg")
    assert all(record is None or record["status"] != "failed" for record in seen)


async def test_F28_hidden_and_service_folders_that_come_later_are_ignored(tmp_path):
    """Moved in or made after the start, they get nothing; nor do subfolders without `recursive`."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    root.mkdir()
    for name in (".hidden", "@eaDir", "usual"):
        (outside / name).mkdir(parents=True)
        old(outside / name / "a.png", plain())
    async with watching(root):
        for name in (".hidden", "@eaDir", "usual"):
            os.rename(outside / name, root / name)
        await tagged(root / "usual/a.png")
    assert os.listdir(root / ".hidden") == os.listdir(root / "@eaDir") == ["a.png"]
    os.rename(root / "usual", outside / "usual")
    async with watching(root, recursive=False):
        os.rename(outside / "usual", root / "again")
        (root / "again/b.png").write_bytes(plain())
        (root / "top.png").write_bytes(plain())
        await tagged(root / "top.png")
    assert not (root / "again/b.png.json").exists()


async def test_F17_a_root_that_is_a_symlink_is_watched(tmp_path):
    """./photos may be a link to a disk elsewhere."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "photos").symlink_to(tmp_path / "disk")
    root = resolve_folder(Settings(folder={"path": tmp_path / "photos"}))
    async with watching(root):
        (tmp_path / "photos/a.png").write_bytes(plain())
        await tagged(tmp_path / "photos/a.png")


async def test_F06_without_a_free_watch_the_folder_is_polled(tmp_path, monkeypatch):
    """ENOSPC from inotify: degraded, with the sysctl, and tagged all the same."""

    def none_left(*_args, **_options):
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr("pawtag.folder.watcher.NativeObserver.__enter__", none_left)
    async with watching(tmp_path) as work:
        (tmp_path / "a.png").write_bytes(plain())
        await tagged(tmp_path / "a.png")
        assert work.source.state.state == "degraded"
        assert "max_user_watches" in work.source.state.reason


async def test_a_stop_ends_a_scan_at_once(tmp_path):
    """However many files are before it."""
    for number in range(300):
        old(tmp_path / f"{number}.png", b"x")
    started = time.monotonic()
    slowly = lambda walk: (found for found in walk if time.sleep(0.05))  # noqa: E731
    source = FolderSource(tmp_path, Settings().folder, slowly, sidecars=Sidecars(tmp_path), max_bytes=1)
    async with source.watch():
        await asyncio.sleep(0.3)
    await asyncio.get_running_loop().shutdown_default_executor()
    assert time.monotonic() - started < 3


async def test_F19_a_scan_of_more_than_the_backlog_holds_finishes(tmp_path):
    """One scan command, several looks: none is left out."""
    for number in range(60):
        (tmp_path / f"{number}.png").write_bytes(plain(size=(8, 8)))
    async with open_parts(colour_tagger()) as parts:
        work, stop = build_folder_runner(Settings(), tmp_path, parts, tuning=SMALL_BACKLOG), asyncio.Event()
        await work.source.scan()
        async with asyncio.timeout(20), run_in_background(_stop_when_drained(work, stop), "drain"):
            await work.worker.run(stop)
    assert work.worker.counts.total == 60


async def test_F19_a_full_backlog_is_completed_by_further_scans(tmp_path):
    """More photos than the backlog holds are all tagged in the end."""
    for number in range(60):
        old(tmp_path / f"{number}.png", plain(size=(8, 8)))
    async with watching(tmp_path, tuning=SMALL_BACKLOG):
        for number in range(60):
            await tagged(tmp_path / f"{number}.png")


async def test_F04_temporary_names_are_not_tagged_and_final_ones_are(tmp_path):
    """rsync, browsers, sync programs: write under another name, then rename."""
    temporary = [".a.jpg.AbC", "b.jpg.part", "c.jpg.crdownload", "d.jpg.tmp", "e.jpg~", ".syncthing.f.jpg.tmp"]
    async with watching(tmp_path):
        for number, name in enumerate(temporary):
            (tmp_path / name).write_bytes(plain(kind="JPEG"))
            os.rename(tmp_path / name, tmp_path / f"{number}.jpg")
        for number in range(len(temporary)):
            await tagged(tmp_path / f"{number}.jpg")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{number}.jpg{suffix}" for number in range(len(temporary)) for suffix in ("", ".json")
    )


async def test_F04_photos_that_arrive_by_rsync_mv_and_cp_are_tagged(tmp_path):
    """The programs themselves."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    for name in ("cp.png", "mv.png", "rsync.png"):
        old(outside / name, plain())
    commands = {"cp": ["cp", "-p"], "mv": ["mv"]} | ({"rsync": ["rsync", "-a"]} if shutil.which("rsync") else {})
    async with watching(root):
        for name, command in commands.items():
            subprocess.run([*command, outside / f"{name}.png", root], check=True, timeout=10)
        for name in commands:
            await tagged(root / f"{name}.png")


async def test_a_changed_photo_is_tagged_again(tmp_path):
    """Another content under the same name: another record."""
    async with watching(tmp_path):
        (tmp_path / "a.png").write_bytes(plain(RED))
        await tagged(tmp_path / "a.png", "red")
        (tmp_path / "a.png").write_bytes(plain(GREEN))
        await tagged(tmp_path / "a.png", "green")


async def test_F18_a_zero_byte_file_is_failed_until_it_is_filled(tmp_path):
    """`empty` while it stays so; tagged once it holds a photo."""
    async with watching(tmp_path):
        (tmp_path / "a.png").touch()
        async with asyncio.timeout(TIMEOUT_S):
            while not sidecar(tmp_path / "a.png"):
                await asyncio.sleep(0.02)
        assert sidecar(tmp_path / "a.png")["error"]["code"] == "empty"
        (tmp_path / "a.png").write_bytes(plain())
        await tagged(tmp_path / "a.png")


async def test_F11_a_deleted_photo_is_forgotten(tmp_path):
    """Deleted before it is finished: no record, no error."""
    async with watching(tmp_path) as work:
        (tmp_path / "a.png").write_bytes(plain())
        (tmp_path / "a.png").unlink()
        (tmp_path / "b.png").write_bytes(plain())
        await tagged(tmp_path / "b.png")
        await drained(work)
    assert sidecar(tmp_path / "a.png") is None


async def test_photos_from_before_the_start_are_tagged_once(tmp_path):
    """The scan at the start finds old photos, and a second start has nothing to do."""
    for number in range(5):
        old(tmp_path / f"{number}.png", plain())
    first, second = ColourEngine(), ColourEngine()
    async with watching(tmp_path, first):
        for number in range(5):
            await tagged(tmp_path / f"{number}.png")
    async with watching(tmp_path, second):
        (tmp_path / "after.png").write_bytes(plain())
        await tagged(tmp_path / "after.png")
    assert sum(first.batches) == 5
    assert second.batches == [1], "only the photo that came after the scan"


async def test_F05_a_photo_without_any_event_is_found_by_the_rescan(tmp_path):
    """With events switched off, the rescan finds what is new."""
    async with watching(tmp_path, observer="polling", rescan_s=1):
        (tmp_path / "a.png").write_bytes(plain())
        await tagged(tmp_path / "a.png")


async def test_F07_a_root_that_goes_and_comes_back_is_watched_again(tmp_path):
    """Lost while it is gone, with the reason; scanned and watched when it is back."""
    root = tmp_path / "root"
    root.mkdir()
    async with watching(root) as work:
        os.rename(root, tmp_path / "away")
        async with asyncio.timeout(TIMEOUT_S):
            while work.source.state.state != "unavailable":
                await asyncio.sleep(0.05)
        assert "mount it or make it readable" in work.source.state.reason
        (tmp_path / "away/while-away.png").write_bytes(plain())
        os.rename(tmp_path / "away", root)
        await tagged(root / "while-away.png")
        async with asyncio.timeout(TIMEOUT_S):
            while work.source.state.state != "running":
                await asyncio.sleep(0.05)
        (root / "after.png").write_bytes(plain())
        await tagged(root / "after.png")


@pytest.mark.parametrize(
    "name",
    [
        "with space.png",
        "quote'\".png",
        "new\nline.png",
        "🐈.png",
        "e\u0301.png",
        "\u00e9.png",
        "-rf.png",
        "UPPER.PNG",
        b"\xff.png",
        "x" * 251 + ".png",
    ],
)
async def test_F15_photos_with_unusual_names_are_tagged(tmp_path, name):
    """Whatever a file system takes for a name."""
    path = tmp_path / (os.fsdecode(name) if isinstance(name, bytes) else name)
    async with watching(tmp_path):
        path.write_bytes(plain())
        async with asyncio.timeout(TIMEOUT_S):
            while len(os.listdir(tmp_path)) < 2:
                await asyncio.sleep(0.02)
    record = json.loads(next(each for each in tmp_path.iterdir() if each != path).read_text())
    assert record["status"] == "tagged"
    assert record["photo"]["name"].encode()


async def test_photos_are_only_read(tmp_path):
    """Content and times of every photo stay; so does a file of another program's."""
    photo = old(tmp_path / "a.png", plain(BLUE))
    (tmp_path / "a.png.json").write_text('{"title": "from another program"}')
    before = photo.stat()
    async with watching(tmp_path):
        async with asyncio.timeout(TIMEOUT_S):
            while not (tmp_path / "a.png.pawtag.json").exists():
                await asyncio.sleep(0.02)
    after = photo.stat()
    assert (after.st_mtime_ns, after.st_size, photo.read_bytes()) == (before.st_mtime_ns, before.st_size, plain(BLUE))
    assert json.loads((tmp_path / "a.png.json").read_text()) == {"title": "from another program"}


async def test_F19_a_thousand_files_at_once_are_all_tagged(tmp_path):
    """A flood of events loses none."""
    async with watching(tmp_path) as work:
        for number in range(1000):
            (tmp_path / f"{number}.png").write_bytes(plain(size=(8, 8)))
        async with asyncio.timeout(45):
            while work.worker.counts.total < 1000:
                await asyncio.sleep(0.05)
    assert sum(sidecar(tmp_path / f"{number}.png")["status"] == "tagged" for number in range(1000)) == 1000
