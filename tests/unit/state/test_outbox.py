"""The outbox: what other systems must still be told."""

import os
from contextlib import closing

import pytest

from pawtag.state import outbox
from pawtag.state.database import StateDatabase
from pawtag.state.outbox import Outbox, OutboxRow


@pytest.fixture
def database(tmp_path):
    with closing(StateDatabase(tmp_path)) as found:
        yield found


def row(name: str) -> OutboxRow:
    return OutboxRow(name, f"/p/{name}", 0, "{}")


async def test_a_row_is_sent_once_it_is_released(database):
    """And is gone once it was sent."""
    box = Outbox(database)
    await box.put(row("a"))
    assert (box.list_due(9), box.list_unreleased(9)) == ([], [row("a")])
    await box.release("a")
    assert (box.list_due(9), box.list_unreleased(9)) == ([row("a")], [])
    await box.remove("a")
    assert box.count() == 0


async def test_a_row_that_is_postponed_comes_again_with_its_attempt(database):
    """The same id."""
    box = Outbox(database)
    await box.put(row("a"))
    await box.release("a")
    await box.postpone(row("a"), 60)
    assert box.list_due(9) == []
    await box.postpone(row("a"), -1)
    assert box.list_due(9) == [OutboxRow("a", "/p/a", 1, "{}")]


async def test_the_same_announcement_is_one_row(database):
    """A photo that is reconciled twice is told of once."""
    box = Outbox(database)
    for _ in range(2):
        await box.put(row("a"))
    assert box.count() == 1


async def test_too_many_and_too_old_rows_go(database, monkeypatch):
    """The oldest first."""
    monkeypatch.setattr(outbox, "MAX_ROWS", 2)
    box = Outbox(database)
    for name in "abc":
        await box.put(row(name))
    assert box.drop_oldest() == 1
    assert [each.id for each in box.list_unreleased(9)] == ["b", "c"]
    monkeypatch.setattr(outbox, "MAX_AGE_S", -1)
    assert box.drop_oldest() == 2


async def test_what_a_dead_process_has_left_is_taken_over(tmp_path):
    """A living one keeps its own."""
    with closing(StateDatabase(tmp_path)) as first:
        await Outbox(first).put(row("a"))
        with closing(StateDatabase(tmp_path)) as second:
            Outbox(second).adopt(released_only=False)
            assert Outbox(second).list_unreleased(9) == []
    with closing(StateDatabase(tmp_path)) as third:
        Outbox(third).adopt(released_only=True)
        assert Outbox(third).list_unreleased(9) == []
        Outbox(third).adopt(released_only=False)
        assert Outbox(third).list_unreleased(9) == [row("a")]


async def test_names_of_any_bytes_come_back(database):
    """As they were."""
    name = os.fsdecode(b"/p/\xff")
    await Outbox(database).put(OutboxRow("a", name, 0, "{}"))
    assert Outbox(database).list_unreleased(1)[0].uri == name
