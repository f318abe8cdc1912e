"""The backlog: newest first, bounded."""

from pawtag.domain.records import PhotoRef
from pawtag.folder.backlog import Backlog


def refs(*times: int) -> list[PhotoRef]:
    return [PhotoRef(f"{time}.jpg", 1, time) for time in times]


def taken(backlog: Backlog) -> list[str]:
    return [path for _ in range(len(backlog)) if (path := backlog.take())]


def test_the_newest_photo_comes_first():
    """Whatever the order in which they were found; each once."""
    backlog = Backlog()
    backlog.add(refs(3, 1, 5))
    backlog.add(refs(4, 5))
    assert taken(backlog) == ["5.jpg", "4.jpg", "3.jpg", "1.jpg"]
    assert backlog.take() is None


def test_it_keeps_the_newest_and_remembers_that_there_were_more():
    """A million photos do not fill the memory: what is cut is found again by the next scan."""
    backlog = Backlog(max_photos=100)
    for first in range(0, 1000, 50):
        backlog.add(refs(*range(first, first + 50)))
    assert backlog.is_truncated
    assert len(backlog) <= 110
    assert backlog.take() == "999.jpg"
    backlog.add(refs(0))
    assert "0.jpg" in taken(backlog)
