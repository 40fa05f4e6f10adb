"""Sessions with agents: answers matched to requests, refusals as our errors, and what is unknown called so."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.agentpeer import HELLO, agents_to, line
from tradeops.base.errors import LockHeld, OutcomeUnknown, Refused, SignatureInvalid, TradeopsError, Unreachable, UsageError
from tradeops.contracts.agent import LINE_BYTES_MAX, PROTOCOL, AgentVerb
from tradeops.contracts.directive import Scope


async def echo(process: Any) -> None:
    """Answers each request with itself and how many bytes followed it."""
    while request := await process.stdin.readline():
        asked = json.loads(request)
        body = await process.stdin.readexactly(asked.get("bytes", 0))
        process.stdout.write(line({"id": asked["id"], "ok": True, "result": {"asked": asked, "body": len(body)}}))


def answering(answer: bytes) -> Any:
    """Reads one request and answers with these bytes, then closes."""

    async def talk(process: Any) -> None:
        await process.stdin.readline()
        process.stdout.write(answer)
        process.exit(0)

    return talk


async def ends(process: Any) -> None:
    process.stderr.write(b"sudo: a password is required\n\x1b[31m")
    process.exit(1)


async def waits(process: Any) -> None:
    await process.stdin.read()


def test_requests_carry_verb_run_fence_and_arguments(tmp_path: Path) -> None:
    """Structs go as plain JSON; ids rise; the hello is kept; what left is counted."""
    with agents_to(echo, tmp_path) as opened:
        session = opened()
        first = session.call(AgentVerb.START, run="r1", fence=5, timeout_s=3, slot="blue", scope=Scope(venues=("x",)))["asked"]
        assert {**first, "args": None} == {"id": 1, "verb": "start", "run": "r1", "fence": 5, "args": None}
        assert first["args"] == {"slot": "blue", "scope": {"venues": ["x"], "symbols": [], "strategies": []}}
        assert session.call(AgentVerb.FACTS, timeout_s=3)["asked"]["id"] == 2
        assert (session.hello.nonce, session.hello.fence) == ("00", 4)
        assert 100 < session.bytes_sent < 400
        session.close()


def test_a_body_follows_its_line(tmp_path: Path) -> None:
    with agents_to(echo, tmp_path) as opened:
        session = opened()
        assert session.stream(AgentVerb.RECEIVE, (bytes(100_000) for _ in range(30)), 3_000_000, timeout_s=5)["body"] == 3_000_000
        assert session.bytes_sent > 3_000_000


@pytest.mark.parametrize("parts", [[b"12345"], [b"1234567", b"89012"]])
def test_a_body_that_is_not_as_long_as_announced_ends_the_session(tmp_path: Path, parts: list[bytes]) -> None:
    """Too short and too long."""
    with agents_to(echo, tmp_path) as opened:
        session = opened()
        with pytest.raises(TradeopsError, match="not the 10 bytes announced"):
            session.stream(AgentVerb.RECEIVE, parts, 10, timeout_s=3)
        with pytest.raises(Unreachable, match="the session is over"):
            session.call(AgentVerb.FACTS, timeout_s=3)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("locked", LockHeld),
        ("fenced", LockHeld),
        ("signature", SignatureInvalid),
        ("digest", Refused),
        ("older", Refused),
        ("disk_full", TradeopsError),
    ],
)
def test_refusals_are_errors_of_ours(tmp_path: Path, code: str, kind: type[TradeopsError]) -> None:
    """With the host, the agent's words, what to do next, and the code; the session goes on."""

    async def refuse(process: Any) -> None:
        while request := await process.stdin.readline():
            error = {"code": code, "what": "held by operator-2\x1b[2J for run r0", "next": "wait", "detail": {}}
            process.stdout.write(line({"id": json.loads(request)["id"], "ok": False, "error": error}))

    with agents_to(refuse, tmp_path) as opened:
        session = opened()
        for _ in range(2):
            with pytest.raises(kind, match=r"host-1: `lock`: held by operator-2\[2J for run r0") as caught:
                session.call(AgentVerb.LOCK, timeout_s=3)
            assert type(caught.value) is kind
            assert (caught.value.code, caught.value.next, caught.value.where) == (code, "wait", "host-1")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b'{"id": 1, "ok": tru',
        b"hello\n",
        b"[]\n",
        b"\xff\xfe\n",
        line({"id": 2, "ok": True, "result": {}}),
        line({"ok": True, "result": {}}),
        line({"id": 1, "ok": True}),
        line({"id": 1, "ok": True, "result": []}),
        line({"id": 1, "ok": False}),
        line({"id": 1, "ok": False, "result": {}}),
        line({"id": 1, "ok": "yes", "result": {}}),
    ],
)
def test_after_a_request_anything_but_an_answer_is_unknown(tmp_path: Path, answer: bytes) -> None:
    """Closed, cut, garbage, another's id, neither result nor error: it may have been done, so the session ends."""
    with agents_to(answering(answer), tmp_path) as opened:
        session = opened()
        with pytest.raises(OutcomeUnknown, match=r"host-1: `switch` was sent and has no answer") as caught:
            session.call(AgentVerb.SWITCH, timeout_s=3)
        assert "may or may not" in str(caught.value.holds)
        with pytest.raises(Unreachable, match="switch had no answer; nothing was sent"):
            session.call(AgentVerb.START, timeout_s=3)


def test_silence_is_unknown_and_a_late_answer_is_nobodys(tmp_path: Path) -> None:
    with agents_to(waits, tmp_path) as opened:
        session = opened()
        with pytest.raises(OutcomeUnknown, match=r"silent for 0\.2 s"):
            session.call(AgentVerb.STOP, timeout_s=0.2)


def test_an_answer_without_end_is_unknown(tmp_path: Path) -> None:
    async def flood(process: Any) -> None:
        await process.stdin.readline()
        for _ in range(LINE_BYTES_MAX // (1 << 20) + 2):
            process.stdout.write(b"x" * (1 << 20))
            await process.stdout.drain()

    with agents_to(flood, tmp_path) as opened, pytest.raises(OutcomeUnknown, match="longer than"):
        opened().call(AgentVerb.FACTS, timeout_s=20)


def test_a_refusal_of_the_whole_session_is_told(tmp_path: Path) -> None:
    """The agent could not read the request at all: its error has no id."""
    refusal = line({"id": None, "ok": False, "error": {"code": "bad_request", "what": "the line is too long", "next": "", "detail": {}}})
    with agents_to(answering(refusal), tmp_path) as opened, pytest.raises(TradeopsError, match="the line is too long"):
        opened().call(AgentVerb.FACTS, timeout_s=3)


def test_a_request_too_large_is_not_sent(tmp_path: Path) -> None:
    with agents_to(echo, tmp_path) as opened:
        session = opened()
        with pytest.raises(UsageError, match="may be sent"):
            session.call(AgentVerb.FACTS, timeout_s=3, text="x" * (LINE_BYTES_MAX + 1))
        assert session.bytes_sent == 0
        session.call(AgentVerb.FACTS, timeout_s=3)


def test_a_closed_session_sends_nothing(tmp_path: Path) -> None:
    with agents_to(echo, tmp_path) as opened:
        session = opened()
        session.close()
        with pytest.raises(Unreachable, match="it was closed; nothing was sent"):
            session.call(AgentVerb.FACTS, timeout_s=3)


def test_threads_take_turns(tmp_path: Path) -> None:
    """A run's thread and its lease's ask at once: each gets its own answer."""
    with agents_to(echo, tmp_path) as opened:
        session = opened()
        answers: dict[int, object] = {}

        def ask(number: int) -> None:
            answers[number] = session.call(AgentVerb.RENEW, timeout_s=5, number=number)["asked"]["args"]["number"]

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == {number: number for number in range(8)}


def test_a_busy_session_lets_nobody_wait_for_ever(tmp_path: Path) -> None:
    with agents_to(waits, tmp_path) as opened:
        session = opened()
        begun = threading.Event()

        def body() -> Iterator[bytes]:
            begun.set()
            yield b"x"

        def stream() -> None:
            with pytest.raises(OutcomeUnknown):
                session.stream(AgentVerb.RECEIVE, body(), 1, timeout_s=1)

        busy = threading.Thread(target=stream)
        busy.start()
        assert begun.wait(3)
        with pytest.raises(Unreachable, match=r"busy for 0\.1 s; nothing was sent"):
            session.call(AgentVerb.RENEW, timeout_s=0.1)
        busy.join()


@pytest.mark.parametrize(
    ("hello", "what"),
    [
        (b"", "its agent did not answer: it closed the stream, exit status 1: sudo: a password is required"),
        (b"Welcome to host-1!\n", "what answered is no agent"),
        (line({**HELLO, "agent": "tradeops-agent/v9"}), f"speaks tradeops-agent/v9, this is {PROTOCOL}"),
        (line({**HELLO, "host": "host-2"}), "another host answers at its address: host-2 of fleet test-fleet"),
        (line({**HELLO, "fleet": "other"}), "another host answers at its address: host-1 of fleet other"),
    ],
)
def test_what_greets_otherwise_is_not_the_agent_of_this_host(tmp_path: Path, hello: bytes, what: str) -> None:
    """Nothing starts, somebody else answers, another protocol, another host, another fleet."""
    with agents_to(ends, tmp_path, hello=hello) as opened, pytest.raises(Unreachable) as caught:
        opened()
    assert what in str(caught.value)
    assert caught.value.where == "host-1"
    assert "\x1b" not in str(caught.value)


def test_an_agent_that_never_greets(tmp_path: Path) -> None:
    with agents_to(waits, tmp_path, hello=b" ") as opened, pytest.raises(Unreachable, match="silent for 3 s"):
        opened()
