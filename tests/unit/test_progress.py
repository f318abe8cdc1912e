"""progress and log: what an operator reads."""

import json
import logging

from pawtag.log import JsonFormatter, PlainFormatter, request_id
from pawtag.pipeline.progress import format_progress


def test_a_backlogs_line_says_how_many_how_fast_how_long():
    """Seconds for a short one, minutes for a long one."""
    assert format_progress(100, 50, 5.0) == "100 of 150 photos, 5.0 a second, about 10 s left"
    assert format_progress(100, 9000, 10.0) == "100 of 9100 photos, 10.0 a second, about 15 min left"


def record(message: str, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("pawtag.x", level, "x.py", 1, message, (), None)


def test_a_name_with_a_newline_stays_one_line():
    """Nobody writes lines of their own into the log."""
    assert "\n" not in PlainFormatter().format(record("a\nb"))


def test_json_lines_carry_level_message_and_request():
    """One object a line; bytes that are no UTF-8 do no harm."""
    token = request_id.set("abcd")
    document = json.loads(JsonFormatter().format(record("odd \udcff name", logging.WARNING)))
    request_id.reset(token)
    assert (document["level"], document["request"]) == ("warning", "abcd")
    assert document["message"] == "odd \udcff name"
