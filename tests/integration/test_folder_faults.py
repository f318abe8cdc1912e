"""The folder when things go wrong: real mounts, real writers, real limits."""

import asyncio
import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from watchdog.events import FileSystemEventHandler
from watchdog.observers.api import BaseObserver

from pawtag.domain.records import PhotoInfo, Written
from pawtag.folder import root_monitor
from pawtag.folder.hints import Change, Hints
from pawtag.folder.place import Place
from pawtag.folder.sidecars import Sidecars
from pawtag.folder.tuning import FolderTuning
from pawtag.folder.watcher import FolderWatcher
from pawtag.folder.watches import SelectiveObserver, WatchSelection
from support.folder import old, sidecar, tagged, until, watching
from support.mounts import file_system, private_mounts, requires_fuse, requires_mounts
from support.pictures import GREEN, RED, plain
from support.process import daemon, get, wait_for
from support.records import photo, record_for

QUICK = FolderTuning(root_check_interval_s=0.1)


async def test_F25_a_file_that_its_writer_holds_open_is_not_tagged_from_half(tmp_path):
    """Reserved in full, half written, stalled longer than stable_s: tagged once it is closed, from the whole."""
    photo, data = tmp_path / "a.bmp", plain(GREEN, size=(300, 200), kind="BMP")
    async with watching(tmp_path):
        with photo.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, len(data))
            file.write(data[: len(data) // 2])
            file.flush()
            await asyncio.sleep(1.5)
            assert sidecar(photo) is None
            file.write(data[len(data) // 2 :])
        record = await tagged(photo, "green")
    assert record["photo"]["bytes"] == len(data)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of the close")
async def test_F25_an_empty_file_that_its_writer_holds_open_is_not_failed(tmp_path):
    """rsync --inplace, a browser: it is made, and filled later."""
    async with watching(tmp_path):
        with (tmp_path / "a.png").open("wb") as file:
            await asyncio.sleep(1.5)
            assert sidecar(tmp_path / "a.png") is None
            file.write(plain())
        await tagged(tmp_path / "a.png")


async def test_F25_a_writer_that_never_closes_is_waited_for_up_to_a_bound(tmp_path):
    """A program that keeps its files open does not hide them for ever."""
    async with watching(tmp_path, tuning=FolderTuning(held_s=0.8)):
        with (tmp_path / "a.png").open("wb") as file:
            file.write(plain())
            file.flush()
            await tagged(tmp_path / "a.png")


async def test_F25_half_a_file_of_zeros_is_not_at_rest(tmp_path):
    """Polled, where no close is told: a reserved BMP is waited for."""
    photo, data = tmp_path / "a.bmp", plain(GREEN, size=(300, 200), kind="BMP")
    async with watching(tmp_path, observer="polling", rescan_s=1, stable_s=0.3):
        photo.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
        await asyncio.sleep(2)
        assert sidecar(photo) is None
        photo.write_bytes(data)
        await tagged(photo, "green")


async def test_F24_a_photo_that_is_overwritten_all_the_time_is_tagged_now_and_then(tmp_path):
    """A webcam's latest.png never rests: it is read as it is, from a whole snapshot."""
    photo, stop = tmp_path / "latest.png", asyncio.Event()

    async def overwrite() -> None:
        while not stop.is_set():
            (tmp_path / "new").write_bytes(plain())
            os.replace(tmp_path / "new", photo)
            await asyncio.sleep(0.05)

    async with watching(tmp_path, tuning=FolderTuning(snapshot_s=0.6)):
        webcam = asyncio.create_task(overwrite())
        await tagged(photo)
        stop.set()
        await webcam


async def test_F11_a_photo_that_is_deleted_and_made_again_does_not_wait_for_the_rescan(tmp_path):
    """Even at the moment at which it is looked at."""
    photo = tmp_path / "a.png"
    async with watching(tmp_path):
        for _ in range(10):
            photo.write_bytes(plain())
            await asyncio.sleep(0.19)
            photo.unlink()
            photo.write_bytes(plain(GREEN))
            await asyncio.sleep(0.02)
        await tagged(photo, "green")


async def test_F08_an_observer_that_ended_is_started_again(tmp_path, caplog):
    """Its threads end: what came meanwhile is found, and what comes later is seen at once."""
    observers = []
    start = FolderWatcher._start_observer

    async def remember(self, stack, status):
        observers.append(await start(self, stack, status))
        return observers[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FolderWatcher, "_start_observer", remember)
        async with watching(tmp_path, tuning=QUICK) as work:
            observers[0]._observer.stop()
            (tmp_path / "while-blind.png").write_bytes(plain())
            await tagged(tmp_path / "while-blind.png")
            await until(lambda: len(observers) == 2 and work.source.state.state == "running")
            (tmp_path / "later.png").write_bytes(plain())
            await tagged(tmp_path / "later.png")


@pytest.mark.skipif(sys.platform != "linux", reason="the queue is inotify's")
async def test_F23_a_rescan_reports_a_record_of_other_labels(tmp_path, caplog):
    """A command with other --labels has rewritten it while the daemon runs: it stays, and the log says so once."""
    photo = old(tmp_path / "a.png", plain())
    async with watching(tmp_path, observer="polling", rescan_s=1):
        record = await tagged(photo)
        theirs = record | {"fingerprint": "theirs", "tagged_at": "2100-01-01T00:00:00Z"}
        (tmp_path / "a.png.json").write_text(json.dumps(theirs))
        await until(lambda: "another daemon or command" in caplog.text)
        await asyncio.sleep(1.2)  # another rescan
    assert caplog.text.count("another daemon or command") == 1
    assert sidecar(photo)["fingerprint"] == "theirs"


async def test_F05_an_overflow_of_the_event_queue_is_followed_by_a_rescan(tmp_path):
    """More events than the kernel keeps, while watchdog's reader is held: the photo after them is found all the same."""
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 50_000:
        pytest.skip("the kernel's queue is too long here to be filled")
    async with watching(tmp_path):
        [observer] = find_observers()
        [emitter] = observer.emitters
        with emitter._inotify._lock:
            for number in range(limit):
                (tmp_path / f"{number % 7}.txt").write_bytes(b"x")
            (tmp_path / "a.png").write_bytes(plain())
        await tagged(tmp_path / "a.png")


def test_hints_without_room_ask_for_a_scan_of_everything():
    """They are bounded; the latest change of a path counts."""
    woken = []
    hints = Hints(lambda: woken.append(1), max_paths=2)
    for path, change in (("a", Change.SEEN), ("a", Change.CLOSED), ("b", Change.SEEN), ("c", Change.SEEN)):
        hints.add(path, change)
    assert hints.take() == ({"a": Change.CLOSED, "b": Change.SEEN}, {None})
    assert hints.take() == ({}, set())
    assert woken == [1]


async def test_F28_an_excluded_file_or_folder_gets_no_record(tmp_path):
    """folder.exclude: by name, or by a path below the folder; for scans and for events."""
    names = ("thumbs/a.png", "old/raw/b.png", "old/c.png", "x_small.png", "keep.png")
    for name in names[:3]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        old(tmp_path / name, plain())
    async with watching(tmp_path, exclude=("thumbs", "old/raw", "*_small.*")):
        for name in names[3:]:
            (tmp_path / name).write_bytes(plain())
        await tagged(tmp_path / "keep.png")
        await tagged(tmp_path / "old/c.png")
        (tmp_path / "old/raw/later.png").write_bytes(plain())
        (tmp_path / "thumbs/later.png").write_bytes(plain())
        (tmp_path / "last.png").write_bytes(plain())
        await tagged(tmp_path / "last.png")
    records = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.json")}
    assert records == {"keep.png.json", "old/c.png.json", "last.png.json"}


@pytest.mark.parametrize("pattern", ["*", "IMG_*", "*.jp*"])
async def test_F27_sidecars_are_no_photos_whatever_the_patterns(tmp_path, pattern):
    """Else each sidecar would get a sidecar, without end."""
    old(tmp_path / "IMG_1.jpg", plain(kind="JPEG"))
    async with watching(tmp_path, patterns=(pattern,)):
        await tagged(tmp_path / "IMG_1.jpg")
        (tmp_path / "IMG_2.jpg").write_bytes(plain(kind="JPEG"))
        await tagged(tmp_path / "IMG_2.jpg")
        await asyncio.sleep(1)
    assert sorted(os.listdir(tmp_path)) == ["IMG_1.jpg", "IMG_1.jpg.json", "IMG_2.jpg", "IMG_2.jpg.json"]


async def test_F16_a_pipe_under_a_sidecars_name_stops_nothing(tmp_path):
    """It is another program's: never opened for a blocking read, and the photo gets its second name."""
    os.mkfifo(tmp_path / "a.png.json")
    for name in ("a.png", "b.png"):
        old(tmp_path / name, plain())
    async with watching(tmp_path):
        await tagged(tmp_path / "b.png")
        await until((tmp_path / "a.png.pawtag.json").exists)


async def test_F26_a_correction_does_not_pass_to_another_photo_of_the_same_name(tmp_path):
    """A camera uses IMG_0001 again: each correction stays with its photo, and is used when that one comes back."""
    photo, record = tmp_path / "IMG_0001.png", tmp_path / "IMG_0001.png.json"
    async with watching(tmp_path):
        first = await correct_and_delete(photo, plain(RED))
        assert (await correct_and_delete(photo, plain(RED, size=(50, 50))))["corrected"] is None
        assert len(list(tmp_path.glob("IMG_0001.png.*.gone.json"))) == 2
        record.write_text('{"title": "of another program"}')
        old(photo, plain(RED))
        os.utime(photo, ns=(first["source"]["mtime_ns"],) * 2)
        await until((tmp_path / "IMG_0001.png.pawtag.json").exists)
        restored = json.loads((tmp_path / "IMG_0001.png.pawtag.json").read_text())
    assert restored["corrected"] == {"species": ["green"]}
    assert [tag["label"] for tag in restored["tags"]] == ["green"]
    assert record.read_text() == '{"title": "of another program"}'
    assert len(list(tmp_path.glob("*.gone.json"))) == 1


async def correct_and_delete(photo: Path, data: bytes) -> dict:
    """The record of a photo before a person corrects it; then the photo goes."""
    record = photo.parent / f"{photo.name}.json"
    kept = len(list(photo.parent.glob("*.gone.json")))
    old(photo, data)
    found = await tagged(photo)
    record.write_text(json.dumps(found | {"corrected": {"species": ["green"]}}))
    photo.unlink()
    await until(lambda: len(list(photo.parent.glob("*.gone.json"))) == kept + 1)
    return found


@requires_mounts
def test_F07_F30_an_unmounted_root_is_unavailable_and_nothing_is_lost(tmp_path):
    """The empty mount point is not taken for the folder, after a restart either."""
    root = tmp_path / "photos"
    root.mkdir()
    with private_mounts() as mounts:
        mounts.mount_tmpfs(root)
        (mounts.see(root) / "a.png").write_bytes(plain(size=(64, 64)))
        os.utime(mounts.see(root) / "a.png", (1, 1))
        state = {"PAWTAG_STATE__DIR": str(tmp_path / "state"), "PAWTAG_MODEL__ID": "embedded"}
        with daemon(tmp_path, "--watch", root, prefix=mounts.enter, **state) as running:
            wait_for(mounts.see(root) / "a.png.json")
            mounts.unmount(root)
            wait_until_source(running, "unavailable")
            assert running.stop() == 0
        with daemon(tmp_path, "--watch", root, prefix=mounts.enter, **state) as running:
            wait_until_source(running, "unavailable")
            assert "mount it" in get(running.address, "/readyz", allow_error=True)["sources"][0]["reason"]
            assert running.stop() == 0
    assert list(root.iterdir()) == []


@requires_mounts
def test_F30_an_unmounted_sidecar_dir_is_not_made_anew(tmp_path):
    """The library would be tagged again, into the disk below."""
    root, mirror = tmp_path / "photos", tmp_path / "records"
    for folder in (root, mirror):
        folder.mkdir()
    old(root / "a.png", plain(size=(64, 64)))
    with private_mounts() as mounts:
        mounts.mount_tmpfs(mirror)
        settings = {
            "PAWTAG_STATE__DIR": str(tmp_path / "state"),
            "PAWTAG_MODEL__ID": "embedded",
            "PAWTAG_SIDECAR__DIR": str(mirror),
        }
        with daemon(tmp_path, "--watch", root, prefix=mounts.enter, **settings) as running:
            wait_for(mounts.see(mirror) / "a.png.json")
            mounts.unmount(mirror)
            (root / "b.png").write_bytes(plain(size=(64, 64)))
            wait_until_source(running, "degraded", "unavailable")
            assert running.stop() == 0
        with daemon(tmp_path, "--watch", root, prefix=mounts.enter, **settings) as running:
            wait_until_source(running, "unavailable")
            assert running.stop() == 0
        mounts.mount_tmpfs(mirror)
    assert list(mirror.iterdir()) == []


def wait_until_source(running, *states: str) -> None:
    """Until /readyz says so of the folder."""
    deadline = time.monotonic() + 20
    while (found := get(running.address, "/readyz", allow_error=True)["sources"][0])["state"] not in states:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


@requires_fuse
async def test_F09_a_network_mount_below_the_root_is_polled(tmp_path, caplog):
    """A FUSE mount sends no events for what another machine writes: it is looked at often, and the log says so."""
    (tmp_path / "backing").mkdir()
    (tmp_path / "root/nas").mkdir(parents=True)
    caplog.set_level("INFO", logger="pawtag")
    async with file_system(tmp_path / "backing", tmp_path / "root/nas"), watching(tmp_path / "root"):
        old(tmp_path / "backing/from-elsewhere.png", plain())
        await tagged(tmp_path / "root/nas/from-elsewhere.png")
    assert "is a network file system, and is polled" in caplog.text


@requires_fuse
async def test_F09_a_mount_that_comes_later_is_noticed(tmp_path):
    """A drive that is plugged in below a watched folder is scanned, and watched or polled."""
    (tmp_path / "backing").mkdir()
    (tmp_path / "root/drive").mkdir(parents=True)
    old(tmp_path / "backing/there.png", plain())
    async with (
        watching(tmp_path / "root", tuning=QUICK),
        file_system(tmp_path / "backing", tmp_path / "root/drive"),
    ):
        await tagged(tmp_path / "root/drive/there.png")
        old(tmp_path / "backing/later.png", plain())
        await tagged(tmp_path / "root/drive/later.png")


@requires_fuse
@pytest.mark.parametrize("oddity", [f"fsync={errno.EINVAL}", f"fsync={errno.EOPNOTSUPP}", "nolink", "size0"])
async def test_W06_odd_file_systems_get_their_sidecars(tmp_path, oddity):
    """FUSE mounts that refuse to flush or to link, or that tell a size of 0."""
    (tmp_path / "backing").mkdir()
    (tmp_path / "root").mkdir()
    old(tmp_path / "backing/a.png", plain())
    async with file_system(tmp_path / "backing", tmp_path / "root", oddity), watching(tmp_path / "root"):
        await tagged(tmp_path / "root/a.png")


@requires_fuse
async def test_F15_short_names_of_a_file_system_get_short_sidecars(tmp_path):
    """eCryptfs, the encrypted shares of a NAS: 143 bytes."""
    (tmp_path / "backing").mkdir()
    (tmp_path / "root").mkdir()
    names = [f"{'x' * (length - 4)}.png" for length in (127, 134, 139, 143)]
    for name in names:
        old(tmp_path / "backing" / name, plain())
    async with file_system(tmp_path / "backing", tmp_path / "root", "name_max=143"), watching(tmp_path / "root"):
        await until(lambda: len(list((tmp_path / "backing").glob("*.json"))) == len(names))
    assert max(len(path.name) for path in (tmp_path / "backing").iterdir()) <= 143


@pytest.mark.skipif(sys.platform != "linux", reason="watches are counted on Linux")
def test_F06_folders_for_which_no_watch_is_left_are_polled_and_named(tmp_path):
    """The system's limit is reached below the root: degraded, with the sysctl; what arrives there is tagged all the same."""
    root = tmp_path / "root"
    for number in range(12):
        (root / f"folder{number:02}").mkdir(parents=True)
    own = Path("/proc/sys/user/max_inotify_watches")
    probe = ["unshare", "-Ur", "sh", "-c", f"echo 8 > {own}"]
    if not own.exists() or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("the limit cannot be lowered here")
    enter = ["unshare", "-Ur", "sh", "-c", f'echo 8 > {own}; exec "$@"', "sh"]
    settings = {"PAWTAG_MODEL__ID": "embedded", "PAWTAG_FOLDER__STABLE_S": "0.5"}
    with daemon(tmp_path, "--watch", root, prefix=enter, **settings) as running:
        wait_until_source(running, "degraded")
        reason = get(running.address, "/readyz", allow_error=True)["sources"][0]["reason"]
        for number in range(12):
            (root / f"folder{number:02}/a.png").write_bytes(plain(size=(64, 64)))
        for number in range(12):
            wait_for(root / f"folder{number:02}/a.png.json")
        assert running.stop() == 0
    assert "max_user_watches" in reason
    assert running.said().count("max_user_watches") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="watches are inotify's")
async def test_F06_F28_hidden_and_service_folders_take_no_watch(tmp_path):
    """@eaDir of a NAS has a folder for each photo."""
    for name in ("@eaDir/deep", ".thumbnails", "album", "#recycle/x", "System Volume Information"):
        (tmp_path / name).mkdir(parents=True)
    async with watching(tmp_path):
        (tmp_path / "album/@eaDir/later").mkdir(parents=True)
        await asyncio.sleep(0.3)
        [observer] = find_observers()
        [emitter] = observer.emitters
        watched = {os.fsdecode(path) for path in emitter._inotify._active_callbacks_by_path}
    assert watched == {str(tmp_path), str(tmp_path / "album")}


@pytest.mark.skipif(sys.platform != "linux", reason="watches are inotify's")
def test_F06_what_was_denied_is_tried_again(tmp_path):
    """The limit was raised, or a folder is gone: nothing stays degraded for ever."""
    for name in ("a", "a b", "a/c", "gone"):
        (tmp_path / name).mkdir()
    selection = WatchSelection(tmp_path, lambda _: True)
    room = [False]
    selection.has_room = lambda path, _: room[0] or path == os.fsencode(tmp_path)
    observer = SelectiveObserver(selection)
    observer.schedule(FileSystemEventHandler(), str(tmp_path), recursive=True)
    observer.start()
    try:
        assert selection.list_denied() == [str(tmp_path / name) for name in ("a", "a b", "gone")]
        (tmp_path / "gone").rmdir()
        selection.retry()
        assert selection.list_denied() == [str(tmp_path / name) for name in ("a", "a b")]
        room[0] = True
        selection.retry()
        assert selection.list_denied() == []
    finally:
        observer.stop()
        observer.join()


async def test_F31_a_scan_that_is_cancelled_does_not_end_the_later_ones(tmp_path):
    """The poll of a mount that went away is cancelled; the folder is scanned as before."""
    (tmp_path / "nas").mkdir()
    async with watching(tmp_path, observer="polling", rescan_s=1, tuning=QUICK) as work:
        watcher = work.source._watcher
        poll = asyncio.create_task(watcher.scan(tmp_path / "nas"))
        await asyncio.sleep(0)
        poll.cancel()
        await asyncio.gather(poll, return_exceptions=True)
        old(tmp_path / "a.png", plain())
        await tagged(tmp_path / "a.png")


async def test_F09_a_network_mount_that_fails_is_named(tmp_path):
    """The server of a mount is dead: degraded, with the reason."""
    (tmp_path / "nas").mkdir()
    async with watching(tmp_path, tuning=QUICK) as work:
        watcher = work.source._watcher

        async def fail(_folder):
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

        watcher._polled._scan = fail
        watcher._polled.set_networks([str(tmp_path / "nas")])
        await until(lambda: "Transport endpoint is not connected" in (work.source.state.reason or ""))
        assert work.source.state.state == "degraded"


async def test_F31_a_network_mount_below_the_root_that_hangs_does_not_blind_the_folder(tmp_path, monkeypatch):
    """Its scan does not end: the folder is degraded, names it, and goes on."""
    monkeypatch.setattr("pawtag.folder.polled_folders.STALL_S", 0.3)
    (tmp_path / "nas").mkdir()
    ends = threading.Event()
    async with watching(tmp_path, tuning=QUICK) as work:
        watcher = work.source._watcher

        async def hang(_folder):
            await asyncio.to_thread(ends.wait, 20)

        watcher._polled._scan = hang
        watcher._polled.set_networks([str(tmp_path / "nas")])
        watcher.request_scan()
        await until(lambda: "does not answer" in (work.source.state.reason or ""))
        assert work.source.state.state == "degraded"
        (tmp_path / "a.png").write_bytes(plain())
        await tagged(tmp_path / "a.png")
        ends.set()
        await until(lambda: work.source.state.state == "running")


def find_observers() -> list[BaseObserver]:
    """watchdog's observers that are alive."""
    return [thread for thread in threading.enumerate() if isinstance(thread, BaseObserver)]


def test_F30_a_place_is_refused_only_where_it_is_empty_and_another(tmp_path, monkeypatch):
    """Emptied on purpose, or moved to another disk with its content: both are right."""

    class Remembered:
        position = ""

        def save(self) -> None:
            pass

    remembered, is_empty = Remembered(), [False]
    place = Place(tmp_path, remembered, lambda: is_empty[0])
    place.check()
    here = remembered.position
    assert here
    is_empty[0] = True
    place.check()
    remembered.position = "ext4 /dev/other / /elsewhere"
    with pytest.raises(FileNotFoundError, match="mount it"):
        place.check()
    is_empty[0] = False
    place.check()
    assert remembered.position == here


async def test_F31_a_network_mount_that_hangs_leaves_the_server_alive(tmp_path, monkeypatch):
    """The root is looked at in a thread: the event loop goes on, and the state says so."""
    monkeypatch.setattr("pawtag.folder.root_monitor.STALL_S", 0.2)
    hang = [False]
    read = root_monitor.read_root_status

    def read_slowly(root):
        while hang[0]:
            time.sleep(0.05)
        return read(root)

    monkeypatch.setattr(root_monitor, "read_root_status", read_slowly)
    async with watching(tmp_path, tuning=QUICK) as work:
        hang[0] = True
        await until(lambda: work.source.state.state == "unavailable")
        assert "does not answer" in work.source.state.reason
        hang[0] = False
        await until(lambda: work.source.state.state == "running")


def test_W05_two_photos_whose_names_differ_by_case_do_not_share_a_record(tmp_path):
    """A mirror tree on a file system that ignores case shows one record under both names."""
    (tmp_path / "photos").mkdir()
    upper, lower = (photo(tmp_path / "photos", name) for name in ("IMG.jpg", "img.jpg"))
    mirror = tmp_path / "mirror"
    sidecars = Sidecars(tmp_path / "photos", mirror)
    sidecars.write(upper, record_for(upper, photo=PhotoInfo(name="IMG.jpg", bytes=upper.size_bytes)), Written())
    os.link(mirror / "IMG.jpg.json", mirror / "img.jpg.json")  # as such a file system shows it
    assert sidecars.look(lower).stamp is None
    sidecars.write(lower, record_for(lower, photo=PhotoInfo(name="img.jpg")), sidecars.look(lower))
    assert json.loads((mirror / "IMG.jpg.json").read_text())["photo"]["name"] == "IMG.jpg"
    assert sidecars.look(upper).stamp.describes(upper)
    assert sidecars.look(lower).stamp.record.photo.name == "img.jpg"
