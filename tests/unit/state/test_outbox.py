"""The outbox: what other systems must still be told."""

import os
from contextlib import closing

import pytest

from pawtag.state import outbox
from pawtag.state.database import StateDatabase
from pawtag.state.outbox import Outbox

LONG_S = 3600.0


@pytest.fixture
def database(tmp_path):
    with closing(StateDatabase(tmp_path)) as found:
        yield found


async def put(box: Outbox, *names: str, release: bool = False) -> None:
    for name in names:
        await box.put(name, f"/p/{name}", "{}")
        if release:
            await box.release(name)


def due(box: Outbox) -> list[str]:
    return [row.id for row in box.list_due(9)]


def unsettled(box: Outbox, min_age_s: float = -1) -> list[str]:
    return [row.id for row in box.list_unsettled(min_age_s, 9)]


async def test_a_row_is_sent_once_it_is_released(database):
    """And is gone once it was sent."""
    box = Outbox(database)
    await put(box, "a")
    assert (due(box), unsettled(box), unsettled(box, LONG_S)) == ([], ["a"], [])
    await box.release("a")
    assert (due(box), unsettled(box)) == (["a"], [])
    await box.remove(box.list_due(1)[0])
    assert box.count() == 0


async def test_a_row_that_is_postponed_comes_again_with_its_attempt(database, monkeypatch):
    """The same id; also where the clock goes back by hours meanwhile."""
    box = Outbox(database)
    await put(box, "a", release=True)
    await box.postpone(box.list_due(1)[0], LONG_S)
    assert due(box) == []
    now_s = outbox.time.time()
    monkeypatch.setattr(outbox.time, "time", lambda: now_s - 24 * LONG_S)
    assert [(row.id, row.attempt) for row in box.list_due(9)] == [("a", 1)]


async def test_an_announcement_that_comes_again_keeps_its_place(database):
    """One that waits is not taken back by a second write that fails."""
    box = Outbox(database)
    await put(box, "a", release=True)
    await put(box, "a")
    await box.discard("a")
    assert due(box) == ["a"]
    await put(box, "b")
    await box.discard("b")
    assert box.count() == 1


async def test_too_many_rows_and_those_that_were_tried_for_long_go(database, monkeypatch):
    """The oldest first; one that was never tried is not too old, whatever the clock says."""
    monkeypatch.setattr(outbox, "MAX_ROWS", 2)
    box = Outbox(database)
    await put(box, "a", "b", "c", release=True)
    assert (box.drop_oldest(), sorted(due(box))) == (1, ["b", "c"])
    monkeypatch.setattr(outbox, "MAX_AGE_S", -1)
    assert box.drop_oldest() == 0
    monkeypatch.setattr(outbox, "MIN_ATTEMPTS", -1)
    assert box.drop_oldest() == 2


async def test_what_a_dead_process_has_left_is_taken_over(tmp_path):
    """Released rows at once, others when they are settled; a living one keeps its own."""
    with closing(StateDatabase(tmp_path)) as first:
        await put(Outbox(first), "a")
        await put(Outbox(first), "b", release=True)
        with closing(StateDatabase(tmp_path)) as second:
            Outbox(second).adopt()
            assert (due(Outbox(second)), unsettled(Outbox(second))) == ([], [])
    with closing(StateDatabase(tmp_path)) as third:
        box = Outbox(third)
        box.adopt()
        assert (due(box), unsettled(box, LONG_S)) == (["b"], ["a"])
        row = box.list_unsettled(LONG_S, 1)[0]
        await box.release(row.id, row.owner)
        assert sorted(due(box)) == ["a", "b"]


async def test_names_of_any_bytes_come_back(database):
    """As they were."""
    name, box = os.fsdecode(b"/p/\xff"), Outbox(database)
    await box.put("a", name, "{}")
    await box.release("a")
    assert box.list_due(1)[0].uri == name
