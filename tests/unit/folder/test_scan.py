"""A scan with a memory: what has not changed is not read again, and what has is."""

import os
import time
from pathlib import Path

import pytest

from pawtag.config import FolderSettings
from pawtag.domain.freshness import Verdict
from pawtag.folder.scan import Scan
from pawtag.folder.scan_memory import ScanMemory
from pawtag.folder.walk import Walk

OLD_S = 1_000_000_000


@pytest.fixture
def root(tmp_path):
    """A folder of two tagged photos and one that is not, in two folders."""
    root = tmp_path / "photos"
    for name in ("a.jpg", "sub/b.jpg", "sub/new.jpg"):
        write(root / name)
        if "new" not in name:
            write(root / f"{name}.json")
    return root


def write(path, content="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (OLD_S, OLD_S))


class Judge:
    """Says that what has a sidecar is current, and notes what it was asked."""

    def __init__(self):
        self.asked, self.verdict = [], Verdict.CURRENT

    def __call__(self, ref):
        self.asked.append(Path(ref.uri).name)
        return self.verdict if Path(ref.uri + ".json").exists() else Verdict.NEEDED


def scan(root, judge, key="key", cache=None, **settings):
    """The names of the photos that need a record."""
    cache = cache or root.parent / "cache"
    walk = Walk(root, FolderSettings(**settings))
    opened = lambda: ScanMemory(cache / "scans.db", key)  # noqa: E731
    return sorted(Path(found.ref.uri).name for found in Scan(walk, judge, str, opened))


def test_a_second_scan_reads_only_what_needs_a_record(root):
    """The tagged photos are remembered; the other is found again."""
    judge = Judge()
    assert scan(root, judge) == ["new.jpg"]
    assert sorted(judge.asked) == ["a.jpg", "b.jpg", "new.jpg"]
    judge.asked.clear()
    assert scan(root, judge) == ["new.jpg"]
    assert judge.asked == ["new.jpg"]


@pytest.mark.parametrize("changed", ["sub/b.jpg", "sub/b.jpg.json"])
@pytest.mark.parametrize("how", ["content", "time", "removed"])
def test_a_change_of_photo_or_sidecar_is_noticed(root, changed, how):
    """Another size, another time, or none."""
    judge = Judge()
    scan(root, judge)
    judge.asked.clear()
    if how == "removed":
        (root / changed).unlink()
    else:
        write(root / changed, "xx" if how == "content" else "x")
        os.utime(root / changed, (OLD_S, OLD_S + (how == "time")))
    scan(root, judge)
    assert ("b.jpg" in judge.asked) == (how != "removed" or changed.endswith("json"))


def test_what_changed_a_moment_ago_is_not_remembered(root):
    """It may change again with the same size and time."""
    os.utime(root / "a.jpg.json")
    judge = Judge()
    scan(root, judge)
    judge.asked.clear()
    scan(root, judge)
    assert "a.jpg" in judge.asked


def test_a_record_of_another_daemon_is_not_remembered(root):
    """It is left unchanged only as long as this process runs."""
    judge = Judge()
    judge.verdict = Verdict.FOREIGN
    scan(root, judge)
    judge.asked.clear()
    scan(root, judge)
    assert sorted(judge.asked) == ["a.jpg", "b.jpg", "new.jpg"]


def test_another_model_knows_nothing(root):
    """What is current depends on the fingerprint."""
    scan(root, Judge())
    judge = Judge()
    scan(root, judge, key="another")
    assert sorted(judge.asked) == ["a.jpg", "b.jpg", "new.jpg"]


def test_a_photo_under_the_second_name_is_always_read(root):
    """The first name may be another program's file."""
    write(root / "a.jpg.pawtag.json")
    judge = Judge()
    scan(root, judge)
    judge.asked.clear()
    scan(root, judge)
    assert "a.jpg" in judge.asked


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + bytes(2000)])
def test_a_damaged_memory_is_begun_again(root, content):
    """The scan is right, and the next one remembers."""
    (root.parent / "cache").mkdir()
    (root.parent / "cache/scans.db").write_bytes(content)
    assert scan(root, Judge()) == ["new.jpg"]
    judge = Judge()
    scan(root, judge)
    assert judge.asked == ["new.jpg"]


def test_a_memory_that_cannot_be_kept_is_named(root, caplog):
    """With the setting that mends it; the scan is right."""
    (root.parent / "cache").write_text("a file")
    assert scan(root, Judge()) == ["new.jpg"]
    assert "model.cache_dir" in caplog.text


def test_a_name_that_is_not_utf8_does_not_stop_the_scan(root):
    """Names are bytes, in folders too."""
    write(root / os.fsdecode(b"caf\xe9") / "c.jpg")
    assert scan(root, Judge()) == ["c.jpg", "new.jpg"]


def test_what_was_not_used_for_a_month_goes(root, monkeypatch):
    """Rows of folders that no scan meets any more."""
    scan(root, Judge())
    now_s = time.time()
    monkeypatch.setattr(time, "time", lambda: now_s + 40 * 86_400)
    scan(root / "sub", Judge(), cache=root.parent / "cache")
    memory = ScanMemory(root.parent / "cache/scans.db", "key")
    assert memory.load(str(root)) == {}
    memory.close()


def test_a_scan_of_what_is_known_ends_at_once(root):
    """A stop does not wait for a million files that have not changed."""
    scan(root, Judge())
    checks = []
    walk = Walk(root, FolderSettings(), is_ended=lambda: bool(checks.append(1)) or len(checks) > 2)
    found = Scan(walk, Judge(), str, lambda: ScanMemory(root.parent / "cache/scans.db", "key"))
    assert list(found) == []
    assert len(checks) < 6


def test_F27_sidecars_are_no_photos_whatever_the_patterns(root):
    """A folder that ends in .json is still a folder."""
    write(root / "album.json/c.jpg")
    assert scan(root, Judge(), patterns=("*",)) == ["c.jpg", "new.jpg"]
