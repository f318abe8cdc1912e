"""The log: lines for people on a terminal, JSON for programs, and never an exception of its own."""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

from pawtag.config import LogSettings
from pawtag.domain.ports import SourceState
from pawtag.log_writer import BackgroundHandler

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

# Passed as `extra` where a line is logged; JSON lines carry them under these names.
FIELDS = ("uri", "status", "reason", "duration_s", "delay_s", "method", "path", "http_status")


class PlainFormatter(logging.Formatter):
    """Time, level unless it is info, message, request. Control characters become escapes."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and below it a traceback if there is one."""
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        suffix = f" [{request_id.get()}]" if request_id.get() else ""
        line = f"{datetime.now().astimezone():%H:%M:%S} {level}{escape_unprintable(record.getMessage())}{suffix}"
        if not record.exc_info:
            return line
        trace = self.formatException(record.exc_info).split("\n")
        return "\n".join([line, *map(escape_unprintable, trace)])


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the fields of the line."""

    def format(self, record: logging.LogRecord) -> str:
        """The object; `request` and `error` only if there are any."""
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        document |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if request_id.get():
            document["request"] = str(request_id.get())
        if record.exc_info:
            document["error"] = self.formatException(record.exc_info)
        return json.dumps(document)


def configure_logging(settings: LogSettings, *, in_background: bool = False) -> None:
    """Send the log of pawtag, and warnings of libraries, to stderr in the format of the settings.

    `in_background`: write in a thread, so that the daemon goes on if the reader of stderr stops reading.
    """
    plain = settings.format == "plain" or (settings.format == "auto" and sys.stderr.isatty())
    if hasattr(sys.stderr, "reconfigure"):
        sys.stderr.reconfigure(errors="backslashreplace")  # a file's name may be any bytes
    handler = BackgroundHandler() if in_background else logging.StreamHandler()
    handler.setFormatter(PlainFormatter() if plain else JsonFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("pawtag").setLevel(settings.level.upper())
    for library in ("PIL", "aiohttp.server"):  # they complain about input, which pawtag answers itself
        logging.getLogger(library).setLevel(logging.CRITICAL)
    logging.raiseExceptions = False  # a closed stderr must not stop the daemon


def log_state_change(logger: logging.Logger, before: SourceState, after: SourceState) -> None:
    """Log a change of state: when a fault begins, when another fault replaces it, and when it ends."""
    if (before.state, before.reason) == (after.state, after.reason):
        return
    fields = {"uri": after.name, "reason": after.reason}
    if after.state == "unavailable":
        logger.error("%s", after.reason, extra=fields)
    elif after.state == "degraded":
        logger.warning("%s", after.reason, extra=fields)
    else:
        logger.info("the %s works again", after.name, extra=fields)


def escape_unprintable(text: str) -> str:
    """`text` with escapes for control characters, line ends and surrogates, which could change a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
