"""The writer of the log: nobody waits for a reader."""

import logging
import os
import subprocess
import sys
import time

from pawtag.log_writer import BackgroundHandler

FLOOD = """
import logging, sys, time
from pawtag.config import LogSettings
from pawtag.log import configure_logging
configure_logging(LogSettings(level="info", format="plain"), in_background=True)
log = logging.getLogger("pawtag.x")
started = time.monotonic()
for number in range(30_000):
    log.info("line %d " + "x" * 100, number)
print(time.monotonic() - started, flush=True)
"""


def test_P06_P09_a_reader_that_reads_no_more_does_not_stop_the_process():
    """Megabytes into a pipe that is full: the lines are dropped, and the process ends by itself."""
    reading, writing = os.pipe()
    started_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", FLOOD], stdout=subprocess.PIPE, stderr=writing, timeout=30, check=True, env=os.environ
    )
    os.close(writing)
    os.close(reading)
    assert float(done.stdout) < 10
    assert time.monotonic() - started_s < 20


def test_lines_without_room_are_counted(capsys, monkeypatch):
    """The next line that has room says how many are missing."""
    handler = BackgroundHandler(max_lines=3)
    written, hold = [], [True]

    def write(text):
        while hold[0]:
            time.sleep(0.01)
        written.append(text)

    monkeypatch.setattr(sys.stderr, "write", write)
    for number in range(20):
        handler.emit(logging.makeLogRecord({"msg": f"line {number}"}))
    hold[0] = False
    handler.flush()
    handler.emit(logging.makeLogRecord({"msg": "after"}))
    handler.flush()
    assert written[-1] == "after\n"
    assert any("log lines were lost" in text for text in written)
    assert len(written) <= 6
