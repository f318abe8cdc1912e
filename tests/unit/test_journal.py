"""What is owed survives a kill; what nobody could read is kept."""

import json

import pytest

from pawtag.domain.errors import ConfigError
from pawtag.state import DeadLetters, Journal, ResumePoint


async def test_names_are_found_again_after_a_kill(tmp_path):
    """Those added and not removed, in their order; a line that was cut short counts for nothing."""
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
    """The second is told what to do."""
    journal = Journal(tmp_path / "j")
    with pytest.raises(ConfigError, match=r"state\.dir"):
        Journal(tmp_path / "j")
    await journal.close()


async def test_the_file_does_not_grow_for_ever(tmp_path, monkeypatch):
    """Once most of it is past, it is written anew."""
    monkeypatch.setattr("pawtag.state.MIN_LINES_TO_COMPACT", 10)
    journal = Journal(tmp_path / "j")
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
    letters = DeadLetters(tmp_path / "new" / "dead.jsonl")
    letters.add({"body": "a\nb"})
    letters.add({"body": "c"})
    assert [json.loads(line)["body"] for line in letters.path.read_text().splitlines()] == ["a\nb", "c"]


def test_a_checkpoint_never_passes_what_is_not_done(tmp_path):
    """A later page that is done first waits for the earlier ones."""
    checkpoint = ResumePoint(tmp_path, "scan", "s3://b")
    first, second = checkpoint.begin("k1", 2), checkpoint.begin("k2", 1)
    checkpoint.finish(second)
    checkpoint.finish(first)
    assert checkpoint.position == ""
    checkpoint.finish(first)
    checkpoint.save()
    assert ResumePoint(tmp_path, "scan", "s3://b").position == "k2"
    assert ResumePoint(tmp_path, "scan", "s3://other").position == ""


def test_dead_letters_do_not_fill_the_disk(tmp_path, monkeypatch):
    """The latest are kept, in two files."""
    monkeypatch.setattr("pawtag.state.MAX_DEAD_LETTERS_BYTES", 100)
    dead = DeadLetters(tmp_path / "dead.jsonl")
    for number in range(100):
        dead.add({"number": number})
    lines = [
        json.loads(line) for path in sorted(tmp_path.iterdir(), reverse=True) for line in path.read_text().splitlines()
    ]
    assert lines[-1] == {"number": 99}
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 300
