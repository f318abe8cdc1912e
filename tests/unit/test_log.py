"""The log: plain lines and JSON lines."""

import json
import logging
import sys

from pawtag.domain.ports import SourceState
from pawtag.log import JsonFormatter, PlainFormatter, log_state_change, request_id


def line(message: str, level: int = logging.INFO, **fields: object) -> logging.LogRecord:
    record = logging.LogRecord("pawtag.x", level, "x.py", 1, message, (), None)
    record.__dict__.update(fields)
    return record


def test_F15_control_characters_in_a_name_are_escaped():
    """A name neither starts a line of its own nor commands the terminal."""
    text = PlainFormatter().format(line("a\nb\x1b[31mc\u202ed"))
    assert text.endswith(r"a\nb\x1b[31mc\u202ed")


def test_control_characters_in_a_traceback_are_escaped():
    """The lines of the traceback stay lines."""
    record = line("failed")
    try:
        raise ValueError("a\x1b[2Jb")
    except ValueError:
        record.exc_info = sys.exc_info()
    text = PlainFormatter().format(record)
    assert r"ValueError: a\x1b[2Jb" in text
    assert "\x1b" not in text
    assert len(text.split("\n")) > 2


def test_json_lines_carry_level_message_and_fields():
    """One object a line; fields that are not set are absent."""
    token = request_id.set("abcd")
    document = json.loads(JsonFormatter().format(line("tagged", logging.WARNING, uri="/p/a.jpg", duration_s=0.25)))
    request_id.reset(token)
    assert (document["level"], document["message"], document["request"]) == ("warning", "tagged", "abcd")
    assert (document["uri"], document["duration_s"]) == ("/p/a.jpg", 0.25)
    assert "reason" not in document


def test_F15_a_name_that_is_not_utf8_is_a_json_line():
    """Its surrogates are escapes."""
    assert json.loads(JsonFormatter().format(line("odd \udcff name")))["message"] == "odd \udcff name"


def test_a_fault_is_told_when_it_begins_changes_and_ends(caplog):
    """Told once would hide that a store came back without its queue."""
    faults = [
        ("unavailable", "no answer"),
        ("unavailable", "no answer"),
        ("unavailable", "no queue"),
        ("running", None),
    ]
    before = SourceState("queue q", "running")
    with caplog.at_level("INFO", logger="pawtag"):
        for state, reason in faults:
            after = SourceState("queue q", state, reason)
            log_state_change(logging.getLogger("pawtag.x"), before, after)
            before = after
    assert [record.getMessage() for record in caplog.records] == ["no answer", "no queue", "the queue q works again"]
