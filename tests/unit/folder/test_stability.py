"""The stability tracker: when a file is finished."""

from itertools import pairwise

from pawtag.folder.stability import StabilityTracker, StabilityWaits

SETTLE_S, STABLE_S = 1.0, 5.0


def tracker() -> StabilityTracker[int]:
    return StabilityTracker(StabilityWaits(SETTLE_S, STABLE_S))


def test_F01_a_closed_file_is_finished_after_settle_s():
    """One second after the close, not before."""
    files = tracker()
    files.mark_closed("a", 10.0)
    assert files.pop_due(10.9) == []
    assert files.next_due_s() == 11.0
    assert files.pop_due(11.0) == ["a"]
    assert files.confirm("a", 1, 11.0)
    assert len(files) == 0


def test_F01_a_change_after_the_close_starts_the_wait_again():
    """A file that is opened and appended to again waits for its last close."""
    files = tracker()
    files.mark_closed("a", 10.0)
    files.mark_changed("a", 2, 10.5)
    assert files.pop_due(11.5) == []
    files.mark_closed("a", 12.0)
    assert files.pop_due(13.0) == ["a"]
    assert files.confirm("a", 3, 13.0)


def test_F02_a_file_without_a_close_is_finished_after_stable_s():
    """A network share sends no close event: the version must be the same for five seconds."""
    files = tracker()
    files.mark_changed("a", 1, 10.0)
    assert files.pop_due(15.0) == ["a"]
    assert not files.confirm("a", 2, 15.0)
    assert files.pop_due(20.0) == ["a"]
    assert files.confirm("a", 2, 20.0)


def test_a_change_during_the_check_is_not_missed():
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


def test_postpone_does_not_delay_a_change():
    """A retry in a minute leaves a change of the meantime where it is."""
    files = tracker()
    files.mark_closed("a", 10.0)
    files.postpone("a", 10.0, 60.0)
    assert files.next_due_s() == 11.0


def test_many_changes_of_a_file_make_it_due_once():
    """A thousand events for a file make it due once."""
    files = tracker()
    for step in range(1000):
        files.mark_changed("a", step, step / 1000)
    assert files.pop_due(100.0) == ["a"]
    assert files.pop_due(100.0) == []


def test_F25_a_file_that_a_writer_has_open_waits_for_its_close():
    """However long it pauses, up to a bound."""
    files = tracker()
    files.mark_changed("a", 1, 10.0)
    files.mark_held("a", 2, 11.0)
    files.mark_changed("a", 2, 12.0)
    assert files.pop_due(600.0) == []
    files.mark_closed("a", 600.5)
    assert files.pop_due(601.5) == ["a"]
    assert files.confirm("a", 3, 601.5)
    files.mark_held("b", 1, 0.0)
    assert files.pop_due(601.0) == ["b"]
    assert files.confirm("b", 1, 601.0)


def test_F24_a_file_that_never_rests_is_due_at_growing_intervals():
    """A webcam overwrites latest.jpg every second: after a minute it is read as it is, then after two, up to 15."""
    files, now_s, read_at_s = tracker(), 0.0, []
    while now_s < 4000:
        files.mark_closed("a", now_s)
        now_s += 0.5
        if files.pop_due(now_s) and files.confirm("a", int(now_s), now_s):
            read_at_s.append(now_s)
    pauses = [after - before for before, after in pairwise(read_at_s)]
    assert 59 <= read_at_s[0] <= 61
    assert [round(pause, -1) for pause in pauses[:4]] == [120, 240, 480, 900]


def test_F11_a_file_that_comes_back_while_it_is_looked_at_is_not_forgotten():
    """It was gone when it was looked at, and an event came meanwhile."""
    files = tracker()
    files.mark_closed("a", 0.0)
    assert files.pop_due(1.0) == ["a"]
    files.mark_changed("a", 1, 1.1)
    assert not files.confirm_gone("a", 1.2)
    assert "a" in files
    files.mark_gone("b", 2.0)
    assert files.pop_due(3.0) == ["b"]
    assert files.confirm_gone("b", 3.0)
    assert "b" not in files


def test_F24_a_file_that_is_written_and_closed_all_the_time_is_due():
    """A webcam that writes into the file itself: each second a write of 0.3 s."""
    files, now_s, looks = tracker(), 0.0, 0
    while now_s < 200:
        files.mark_held("a", int(now_s), now_s)
        files.mark_closed("a", now_s + 0.3)
        now_s += 1.0
        for path in files.pop_due(now_s):
            looks += files.confirm(path, int(now_s), now_s)
    assert looks >= 1


def test_F25_a_writer_that_never_ends_is_looked_at_after_an_hour():
    """It writes every thirty seconds, and never closes."""
    files, now_s = tracker(), 0.0
    while now_s < 4000 and not files.pop_due(now_s):
        files.mark_held("a", int(now_s), now_s)
        now_s += 30.0
    assert 3500 < now_s < 3700
    assert files.confirm("a", 0, now_s)


def test_F25_a_slow_writer_settles_after_its_close():
    """Ten minutes of writing are no restlessness: the usual wait follows the close."""
    files = tracker()
    for now_s in range(0, 600, 10):
        files.mark_held("a", now_s, float(now_s))
    files.mark_closed("a", 600.0)
    assert files.pop_due(600.5) == []
    assert files.pop_due(601.0) == ["a"]
