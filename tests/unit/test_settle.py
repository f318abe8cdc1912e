"""settle: when a file is finished, as a pure function of what was told and when."""

from pawtag.folder.stability import StabilityTracker

SETTLE_S, QUIET_S = 1.0, 5.0


def tracker() -> StabilityTracker[int]:
    return StabilityTracker(SETTLE_S, QUIET_S)


def test_a_closed_file_is_finished_after_settling():
    """One second after the close, not before."""
    files = tracker()
    files.mark_closed("a", 10.0)
    assert files.pop_due(10.9) == []
    assert files.next_due_s() == 11.0
    assert files.pop_due(11.0) == ["a"]
    assert files.confirm("a", 1, 11.0)
    assert len(files) == 0


def test_a_change_after_the_close_begins_anew():
    """A file that is opened and appended to again waits for its last close."""
    files = tracker()
    files.mark_closed("a", 10.0)
    files.mark_changed("a", 2, 10.5)
    assert files.pop_due(11.5) == []
    files.mark_closed("a", 12.0)
    assert files.pop_due(13.0) == ["a"]
    assert files.confirm("a", 3, 13.0)


def test_a_file_without_a_close_must_stand_still():
    """No close is told on a network share: the version must be the same for five seconds."""
    files = tracker()
    files.mark_changed("a", 1, 10.0)
    assert files.pop_due(15.0) == ["a"]
    assert not files.confirm("a", 2, 15.0)
    assert files.pop_due(20.0) == ["a"]
    assert files.confirm("a", 2, 20.0)


def test_a_change_while_it_is_looked_at_is_not_missed():
    """Between due() and looked() the file was touched: it is not finished."""
    files = tracker()
    files.mark_closed("a", 10.0)
    assert files.pop_due(11.0) == ["a"]
    files.mark_changed("a", 2, 11.01)
    assert not files.confirm("a", 1, 11.02)
    assert "a" in files


def test_a_forgotten_file_is_never_due():
    """A deleted file waits no longer."""
    files = tracker()
    files.mark_closed("a", 10.0)
    files.forget("a")
    assert files.pop_due(100.0) == []
    assert files.next_due_s() is None
    assert not files.confirm("a", 1, 100.0)


def test_a_wait_does_not_put_off_a_change():
    """A retry in a minute leaves a change that was told meanwhile where it is."""
    files = tracker()
    files.mark_closed("a", 10.0)
    files.postpone("a", 10.0, 60.0)
    assert files.next_due_s() == 11.0


def test_many_changes_leave_one_answer():
    """A thousand events for a file make it due once."""
    files = tracker()
    for step in range(1000):
        files.mark_changed("a", step, step / 1000)
    assert files.pop_due(100.0) == ["a"]
    assert files.pop_due(100.0) == []
