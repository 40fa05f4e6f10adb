"""Logs as one JSON object a line on stderr; values that look like secrets never get there."""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import TextIO

_SECRET_NAME = re.compile(r"pass(word|phrase)|secret|token|private|api_?key|authorization", re.IGNORECASE)
_SECRET_TEXT = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL)


def redact(name: str, value: object) -> object:
    """`value`, or a stand-in when the name or the content is that of a secret."""
    if _SECRET_NAME.search(name):
        return "[redacted]"
    return _SECRET_TEXT.sub("[redacted]", value) if isinstance(value, str) else value


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON; the fields come in `extra={"fields": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        line = {
            "ts": round(record.created, 6),
            "level": record.levelname.lower(),
            "room": record.name,
            "event": redact("event", record.getMessage()),
        }
        line |= {name: redact(name, value) for name, value in fields.items()}
        if record.exc_info:
            line["exception"] = redact("exception", self.formatException(record.exc_info))
        return json.dumps(line, default=str, ensure_ascii=False)


def configure(*, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send every log record of this process to `stream` (stderr) as JSON lines."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)


def event(logger: logging.Logger, level: int, name: str, **fields: object) -> None:
    """Log one event with its fields."""
    logger.log(level, name, extra={"fields": fields})
