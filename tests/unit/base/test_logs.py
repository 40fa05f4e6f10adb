"""Logs."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tradeops.base import logs

PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n-----END OPENSSH PRIVATE KEY-----"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What a process logs; the handlers of the test run are put back."""
    root, text = logging.getLogger(), io.StringIO()
    before, level = root.handlers[:], root.level
    root.handlers.clear()
    logs.configure(level="DEBUG", stream=text)
    yield text
    root.handlers[:] = before
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Each line as JSON."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_of_json(stream: io.StringIO) -> None:
    """Time, level, room, event, fields; a newline inside stays inside."""
    logs.event(logging.getLogger("guard"), logging.WARNING, "halted", reason="two\nlines", beat=5)
    (line,) = lines(stream)
    assert line.pop("ts") > 0
    assert line == {"level": "warning", "room": "guard", "event": "halted", "reason": "two\nlines", "beat": 5}


@pytest.mark.parametrize("name", ["password", "api_key", "apiKey", "Authorization", "client_secret", "private_pem", "passphrase", "token"])
def test_fields_named_like_secrets_are_not_logged(stream: io.StringIO, name: str) -> None:
    """The name is enough."""
    logs.event(logging.getLogger("x"), logging.INFO, "login", **{name: "hunter2"})
    assert lines(stream)[0][name] == "[redacted]"
    assert "hunter2" not in stream.getvalue()


def test_private_keys_in_text_are_not_logged(stream: io.StringIO) -> None:
    """Also inside a message, a field, or an exception's text, also when cut off."""
    logger = logging.getLogger("x")
    logs.event(logger, logging.INFO, "read", file=f"before {PRIVATE} after", cut=PRIVATE[:50])
    try:
        raise ValueError(PRIVATE)
    except ValueError:
        logger.exception("failed: %s", PRIVATE)
    assert "b3BlbnNzaA" not in stream.getvalue()
    first, second = lines(stream)
    assert first["file"] == "before [redacted] after"
    assert "ValueError" in second["exception"]
