"""State: journal, dead letters and resume points survive a kill."""

import json

import pytest

from pawtag.domain.errors import ConfigError
from pawtag.state import DeadLetters, Journal, ResumePoint


async def test_entries_survive_a_kill(tmp_path):
    """Those added and not removed, in their order; a truncated line is ignored."""
    journal = Journal(tmp_path / "j")
    await journal.add(["s3://b/1", "s3://b/ü\n2", "s3://b/3"])
    journal.remove("s3://b/1")
    await journal.close()
    with (tmp_path / "j").open("ab") as file:
        file.write(b'+"s3://b/half')
    again = Journal(tmp_path / "j")
    assert list(again.names) == ["s3://b/ü\n2", "s3://b/3"]
    await again.close()


async def test_two_daemons_do_not_share_a_journal(tmp_path):
    """The error of the second says what to do."""
    journal = Journal(tmp_path / "j")
    with pytest.raises(ConfigError, match=r"state\.dir"):
        Journal(tmp_path / "j")
    await journal.close()


async def test_the_file_does_not_grow_for_ever(tmp_path):
    """Once most of it is past, it is written again."""
    journal = Journal(tmp_path / "j", min_lines_to_compact=10)
    for number in range(40):
        await journal.add([f"s3://b/{number}"])
        journal.remove(f"s3://b/{number}")
    await journal.add(["s3://b/last"])
    await journal.close()
    assert len((tmp_path / "j").read_text().splitlines()) < 20
    again = Journal(tmp_path / "j")
    assert list(again.names) == ["s3://b/last"]
    await again.close()


def test_a_dead_letter_is_a_line_of_json(tmp_path):
    """In a folder that is made when it is needed."""
    dead_letters = DeadLetters(tmp_path / "new" / "dead.jsonl")
    dead_letters.add({"body": "a\nb"})
    dead_letters.add({"body": "c"})
    assert [json.loads(line)["body"] for line in dead_letters.path.read_text().splitlines()] == ["a\nb", "c"]


def test_a_resume_point_never_passes_an_unfinished_key(tmp_path):
    """A later page that is done first waits for the earlier ones."""
    resume_point = ResumePoint(tmp_path, "scan", "s3://b")
    first, second = resume_point.begin("k1", 2), resume_point.begin("k2", 1)
    resume_point.finish(second)
    resume_point.finish(first)
    assert resume_point.position == ""
    resume_point.finish(first)
    resume_point.save()
    assert ResumePoint(tmp_path, "scan", "s3://b").position == "k2"
    assert ResumePoint(tmp_path, "scan", "s3://other").position == ""


def test_dead_letters_are_bounded(tmp_path):
    """The latest are kept, in two files."""
    dead = DeadLetters(tmp_path / "dead.jsonl", max_bytes=100)
    for number in range(100):
        dead.add({"number": number})
    lines = [
        json.loads(line) for path in sorted(tmp_path.iterdir(), reverse=True) for line in path.read_text().splitlines()
    ]
    assert lines[-1] == {"number": 99}
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 300
