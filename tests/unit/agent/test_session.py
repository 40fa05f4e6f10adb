"""The protocol over a real agent process: greeting, refusals, hostile lines, bodies."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from tests.support.agenthost import FLEET, HOST, ManagedHost
from tests.support.agentsession import AgentGone
from tradeops.contracts.agent import PROTOCOL, Facts, Hello


def test_the_agent_speaks_first_and_says_who_it_is(managed: ManagedHost) -> None:
    """Hello names protocol, host, fleet, platform and a nonce that no other session has."""
    first, second = managed.process(), managed.agent()
    hello = msgspec.convert(first.hello, Hello)
    assert (hello.agent, hello.host, hello.fleet, hello.fence) == (PROTOCOL, HOST, FLEET, 0)
    assert hello.platform == managed.platform().id
    assert len(bytes.fromhex(hello.nonce)) == 32
    assert hello.nonce != second.hello["nonce"]


def test_facts_are_all_there(managed: ManagedHost) -> None:
    """What preflight reads decodes as the contract says; a service manager that is down is a problem, not a failure."""
    facts = msgspec.convert(managed.agent().do("facts"), Facts)
    assert facts.disk_free_bytes > 0 and facts.inodes_free > 0 and facts.memory_available_bytes > 0
    assert (facts.policy_number, facts.roster_number, facts.writable) == (1, 1, True)
    assert facts.python_abi == f"cp{sys.version_info[0]}{sys.version_info[1]}"
    assert any("supervisord does not answer" in problem for problem in facts.problems)
    assert [mark.kind for mark in facts.marks] == ["unarmed"]


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"null", b"nonsense", b'{"verb": "facts", "bytes": -1}', b'{"bytes": "9"}', b"[" * 100_000, b"\xff\xfe"]
)
def test_a_line_that_is_no_request_is_refused_and_ends_the_session(managed: ManagedHost, line: bytes) -> None:
    """Nobody could tell whether a body follows it."""
    agent = managed.agent()
    agent.raw(line + b"\n")
    assert agent.read()["error"]["code"] == "bad_request"
    with pytest.raises(AgentGone):
        agent.read()


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("explode", {}),
        ("prove", {}),
        ("prove", {"slot": "../blue"}),
        ("prove", {"slot": "blue", "release": "sha256:../../etc"}),
        ("prove", {"slot": "blue", "rehash": 1}),
        ("latch", {"directive": "kill"}),
        ("latch", {"directive": {}, "wait_ms": 10**9}),
        ("witness", {"chain": "../x", "seq": 1, "head": "h"}),
        ("witness", {"chain": "c", "seq": True, "head": "h"}),
        ("roster", {"roster": None}),
    ],
)
def test_arguments_are_refused_and_the_session_goes_on(managed: ManagedHost, verb: str, args: dict[str, Any]) -> None:
    """Every argument is typed and bounded."""
    agent = managed.agent()
    assert agent.code(verb, **args) in ("bad_request", "signature")
    assert agent.do("witness", read=True) == {"heads": []}


def test_oddly_typed_fields_of_a_request_are_refused(managed: ManagedHost) -> None:
    """A run that is no text, a fence that is no number, args that are no object; the id comes back as it was."""
    agent = managed.agent()
    oddities: tuple[dict[str, Any], ...] = ({"run": 5}, {"fence": "1"}, {"fence": True}, {"args": []}, {"verb": 1})
    for odd in oddities:
        agent.raw(json.dumps({"id": "mine", "verb": "facts", **odd}).encode() + b"\n")
        answer = agent.read()
        assert (answer["id"], answer["ok"], answer["error"]["code"]) == ("mine", False, "bad_request")


def test_a_body_that_no_verb_wants_is_passed_over(managed: ManagedHost) -> None:
    """The next request is found behind it."""
    agent = managed.agent()
    assert agent.code("explode", b"x" * 200_000 + b"\n{}") == "bad_request"
    assert agent.do("witness", read=True) == {"heads": []}


def test_a_line_without_an_end_is_bounded(managed: ManagedHost) -> None:
    """More than 16 MiB without a newline ends the session, whatever memory the sender has."""
    agent = managed.agent()
    chunk = b"x" * (1 << 20)
    try:
        for _ in range(18):
            agent.raw(chunk)
    except BrokenPipeError:
        pass
    assert agent.read()["error"]["code"] == "bad_request"


def test_a_session_ends_with_its_channel(managed: ManagedHost) -> None:
    """Closed between requests, or in the middle of a body: the process ends and says nothing."""
    agent = managed.process()
    agent.close()
    assert agent.process.returncode == 0
    other = managed.holding(managed.process())
    other.raw(
        json.dumps({"id": 1, "verb": "receive", "run": other.run, "fence": other.fence, "args": {}, "bytes": 100}).encode() + b"\nhalf"
    )
    other.close()
    assert other.process.returncode == 0


def test_an_unenrolled_folder_has_no_agent(managed: ManagedHost) -> None:
    """Without host.json the agent does not know who it is, and says so on stderr alone."""
    managed.layout.host_file.unlink()
    argv = [sys.executable, "-I", "-B", str(managed.layout.agent_launcher)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "host.json is missing" in done.stderr


def test_a_mistake_of_ours_is_an_answer(managed: ManagedHost) -> None:
    """A verb that fails as nobody foresaw is `internal`, never silence."""
    state = managed.layout.agent_state / "witnesses.json"
    state.write_text('{"c": 5}')
    agent = managed.agent()
    assert agent.code("witness", chain="c", seq=1, head="h") == "internal"
    assert agent.do("facts")["host"] == HOST
