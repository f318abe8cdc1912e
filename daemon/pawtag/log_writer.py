"""Writes the log in a separate thread: if the reader of stderr stops reading, the daemon must go on."""

import logging
import queue
import sys
import threading

MAX_LINES = 10_000
FLUSH_TIMEOUT_S = 1.0


class BackgroundHandler(logging.Handler):
    """Formats a line in the calling thread, and writes it in a separate thread.

    If the queue is full, new lines are lost; the log later reports how many.
    """

    def __init__(self, max_lines: int = MAX_LINES) -> None:
        """Nothing is written yet."""
        super().__init__()
        self._lines: queue.Queue[str] = queue.Queue(max_lines)
        self._lost = 0
        threading.Thread(target=self._write_all, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue one line."""
        try:
            line = self.format(record)
            if self._lost:
                lost = logging.makeLogRecord(vars(record) | {"msg": f"{self._lost} log lines were lost", "args": ()})
                self._lines.put_nowait(self.format(lost))
                self._lost = 0
            self._lines.put_nowait(line)
        except queue.Full:
            self._lost += 1
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Wait until all lines are written, but not for long: the reader may have stopped reading."""
        waiting = threading.Thread(target=self._lines.join, daemon=True)
        waiting.start()
        waiting.join(FLUSH_TIMEOUT_S)

    def _write_all(self) -> None:
        while True:
            line = self._lines.get()
            try:
                sys.stderr.write(line + "\n")
                sys.stderr.flush()
            except (OSError, ValueError):  # closed: the daemon goes on
                pass
            finally:
                self._lines.task_done()
