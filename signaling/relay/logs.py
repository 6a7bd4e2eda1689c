"""Logs for people or for machines."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

__all__ = ["AcceptFilter", "JSONFormatter", "TextFormatter", "configure_logs"]

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD and value is not None}


def _one_line(value: object) -> str:
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class JSONFormatter(logging.Formatter):
    """One JSON object a line.

    It has `time` (ISO 8601, UTC), `level`, `logger`, `message`, and what the record carries besides.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one JSON object."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(_extras(record))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """The message with what the record carries as `key=value` behind it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        text = super().format(record)
        extras = " ".join(f"{key}={_one_line(value)}" for key, value in _extras(record).items())
        return f"{text}  {extras}" if extras else text

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Write the first line: what is not printable is escaped, so that nobody's name forges another line."""
        record.message = _one_line(record.message)
        return super().formatMessage(record)


class AcceptFilter(logging.Filter):
    """Says once in `interval` seconds that no file descriptor is left.

    asyncio has a traceback for every connection that waits, again and again.
    """

    def __init__(self, interval: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._interval = interval
        self._clock = clock
        self._told = -math.inf

    def filter(self, record: logging.LogRecord) -> bool:
        """Let a record through, or not."""
        if record.name != "asyncio" or not record.getMessage().startswith("socket.accept() out of system"):
            return True
        now = self._clock()
        if now - self._told < self._interval:
            return False
        self._told = now
        record.msg = (
            "no file descriptor is left, and nobody else is let in meanwhile: raise the limit (ulimit -n)"
        )
        record.args = record.exc_info = record.exc_text = None
        return True


def configure_logs(form: Literal["text", "json"], level: int = logging.INFO) -> None:
    """Send the logs of the process to standard error.

    Called by the command only; a library leaves logging alone.
    """
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(JSONFormatter() if form == "json" else TextFormatter())
    stream.addFilter(AcceptFilter())
    logging.basicConfig(level=level, handlers=[stream], force=True)
    # uvicorn repeats what the relay says better.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
