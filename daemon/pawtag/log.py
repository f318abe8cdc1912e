"""What the daemon says: lines for people on a terminal, JSON for programs, never an exception of its own."""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

from pawtag.config import LogSettings

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


class PlainFormatter(logging.Formatter):
    """Time, level where it matters, message, request."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback below it where there is one."""
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        mark = f" [{request_id.get()}]" if request_id.get() else ""
        line = f"{datetime.now().astimezone():%H:%M:%S} {level}{_one_line(record.getMessage())}{mark}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's fields; `request` and `error` where there are any."""
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id.get():
            document["request"] = str(request_id.get())
        if record.exc_info:
            document["error"] = self.formatException(record.exc_info)
        return json.dumps(document)


def configure_logging(settings: LogSettings) -> None:
    """Send pawtag's log to stderr, as the settings say, and quieten the libraries below it."""
    plain = settings.format == "plain" or (settings.format == "auto" and sys.stderr.isatty())
    if hasattr(sys.stderr, "reconfigure"):
        sys.stderr.reconfigure(errors="backslashreplace")  # a file's name may be any bytes
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter() if plain else JsonFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("pawtag").setLevel(settings.level.upper())
    for library in ("PIL", "aiohttp.server"):  # what senders do wrong is answered, and no news
        logging.getLogger(library).setLevel(logging.CRITICAL)
    logging.raiseExceptions = False  # a closed stderr is no reason to stop


def _one_line(message: str) -> str:
    return message.replace("\n", "\\n").replace("\r", "\\r")


def escape_unprintable(name: str) -> str:
    """A file's name for a terminal: what a terminal would obey, or cannot show, as escapes."""
    return name if name.isprintable() else ascii(name)[1:-1]
