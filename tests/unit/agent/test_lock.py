"""The lease on a host: one holder, a fence that only rises, death with its time."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.agenthost import HOST, ManagedHost, plain
from tradeops.base.clock import SystemClock
from tradeops.contracts.agent import NEEDS_LOCK, AgentVerb, Lock
from tradeops.contracts.envelope import Purpose


def test_two_sessions_race_and_one_gets_the_lock(managed: ManagedHost) -> None:
    """Exactly one of many runs that ask at the same time; the others are told who holds it."""
    agents = [managed.process() for _ in range(6)]
    answers: dict[int, dict[str, Any]] = {}

    def take(index: int) -> None:
        answers[index] = managed.lock(agents[index], run=f"run-{index}")

    threads = [threading.Thread(target=take, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    won = [index for index, answer in answers.items() if answer["ok"]]
    assert len(answers) == 6 and len(won) == 1
    for index, answer in answers.items():
        if index != won[0]:
            assert answer["error"]["code"] == "locked"
            assert answer["error"]["detail"]["lock"]["run"] == f"run-{won[0]}"


def test_the_same_run_takes_over_under_a_higher_fence(managed: ManagedHost) -> None:
    """The session before it is fenced off from then on."""
    old, new = managed.locked(), managed.agent()
    assert managed.lock(new)["error"]["code"] == "locked"
    lock = msgspec.convert(managed.lock(new, takeover=True)["result"], Lock)
    assert (lock.fence, lock.run, lock.owner, lock.reason) == (2, "run-1", "operator-1", "test")
    assert 59 < lock.expires_in_s <= 60
    assert old.code("renew", ttl_s=60) == "fenced"
    assert old.code("stop", slot="blue", stop_timeout_s=1) == "fenced"
    assert new.do("renew", ttl_s=5)["expires_in_s"] <= 5


def test_another_run_takes_over_nothing(managed: ManagedHost) -> None:
    """`takeover` is for the same run alone."""
    managed.locked()
    assert managed.lock(managed.agent(), run="run-2", takeover=True)["error"]["code"] == "locked"


def test_the_lock_dies_with_its_lease_and_not_with_its_session(managed: ManagedHost) -> None:
    """An operator's machine that vanished blocks a host for the lease at most; its late verbs are refused."""
    first = managed.agent()
    assert managed.lock(first, ttl_s=30.0)["ok"]
    first.hang_up()
    second = managed.agent()
    managed.clock.ahead_s = 29
    assert managed.lock(second, run="run-2")["error"]["code"] == "locked"
    managed.clock.ahead_s = 31
    assert managed.lock(second, run="run-2")["ok"]
    first = managed.agent()
    first.run, first.fence = "run-1", 1
    assert first.code("renew", ttl_s=60) == "fenced"


def test_a_lease_that_ran_out_is_not_renewed(managed: ManagedHost) -> None:
    """Whoever was away that long must lock again: somebody may have been here."""
    agent = managed.agent()
    assert managed.lock(agent, ttl_s=30.0)["ok"]
    managed.clock.ahead_s = 31
    assert agent.do("facts")["lock"] is None
    assert agent.code("renew", ttl_s=60) == "locked"


def test_whoever_stands_by_may_read_until_when_a_run_holds_the_host(managed: ManagedHost) -> None:
    """By the host's own clock, which all of its processes share: from the lock on, moved by each renewal, ended with the lock."""

    def left_s() -> float:
        return (int(managed.layout.held_file.read_text()) - time.monotonic_ns()) / 10**9

    agent = managed.locked()
    assert left_s() == pytest.approx(60, abs=20)
    agent.do("renew", ttl_s=600)
    assert left_s() == pytest.approx(600, abs=20)
    agent.do("unlock")
    assert left_s() == pytest.approx(0, abs=20)
    assert managed.layout.held_file.stat().st_mode & 0o777 == 0o644


def test_a_lease_of_another_boot_is_none(managed: ManagedHost) -> None:
    """Monotonic readings of another boot are worth nothing; the fence is durable."""
    managed.locked()
    path = managed.layout.agent_state / "lock.json"
    state = json.loads(path.read_text())
    state["lease"]["boot"] = "another"
    path.write_text(json.dumps(state))
    other = managed.agent()
    assert other.do("facts")["lock"] is None
    assert managed.lock(other, run="run-2")["result"]["fence"] == 2


def test_only_its_run_unlocks(managed: ManagedHost) -> None:
    """And once it has, the next run may lock, under a higher fence."""
    holder, other = managed.locked(), managed.agent()
    other.run, other.fence = "run-2", holder.fence
    assert other.code("unlock") == "locked"
    assert holder.do("unlock") == {}
    assert holder.code("renew", ttl_s=60) == "locked"
    assert managed.lock(other, run="run-2")["result"]["fence"] == 2


def test_a_session_that_did_not_lock_changes_nothing(managed: ManagedHost) -> None:
    """Knowing run and fence is not holding the lock: the run key must have signed this session's nonce."""
    holder, other = managed.locked(), managed.agent()
    other.run, other.fence = holder.run, holder.fence
    assert other.code("stop", slot="blue", stop_timeout_s=1) == "locked"
    assert other.code("journal", append={"phase": "staged"}) == "locked"


@pytest.mark.parametrize("verb", sorted(NEEDS_LOCK))
def test_every_verb_that_needs_the_lock_is_refused_without(managed: ManagedHost, verb: AgentVerb) -> None:
    """As the contract lists them."""
    agent = managed.agent()
    agent.run, agent.fence = "run-1", 0
    assert agent.code(verb, ttl_s=5, slot="blue", release="sha256:" + "0" * 64, keep=3, stop_timeout_s=1) == "locked"
    agent.fence = None
    assert agent.code(verb, ttl_s=5) == "bad_request"


def test_a_lock_needs_a_delegation_and_this_sessions_nonce(managed: ManagedHost) -> None:
    """Lent by nobody, to another run, for another host or verb, out of date, or a proof of another session: refused."""
    agent, other = managed.agent(), managed.agent()
    now_ns = SystemClock().wall_ns()
    proof = managed.run_key.sign(agent.hello["nonce"].encode(), Purpose.SESSION)
    agent.run = "run-1"

    def ask(delegation: Any, proof: str = proof) -> str:
        return agent.code("lock", owner="operator-1", reason="r", ttl_s=5, proof=proof, delegation=delegation)

    assert ask(plain(managed.delegation(signer=managed.nobody))) == "signature"
    assert ask(plain(managed.delegation(signer=managed.two))) == "signature"
    assert ask(plain(managed.delegation(run="run-2"))) == "signature"
    assert ask(plain(managed.delegation(hosts=("host-2",)))) == "signature"
    assert ask(plain(managed.delegation(verbs=("halt",)))) == "signature"
    assert ask(plain(managed.delegation(fleet="other"))) == "signature"
    assert ask(plain(managed.delegation(expires_ns=now_ns))) == "signature"
    assert ask(plain(managed.delegation(key="ssh-ed25519 rubbish"))) == "signature"
    good = plain(managed.delegation())
    assert ask(good, managed.run_key.sign(other.hello["nonce"].encode(), Purpose.SESSION)) == "signature"
    assert ask(good, managed.run_key.sign(agent.hello["nonce"].encode(), Purpose.RELEASE)) == "signature"
    assert ask(good, managed.nobody.sign(agent.hello["nonce"].encode(), Purpose.SESSION)) == "signature"
    assert ask(good, "rubbish") == "signature"
    assert managed.lock(agent)["ok"]


@pytest.mark.parametrize("ttl_s", [0, -1, 1e9, float("nan"), "5", None])
def test_a_lease_is_bounded(managed: ManagedHost, ttl_s: Any) -> None:
    """Between a second and an hour."""
    agent = managed.agent()
    proof = managed.run_key.sign(agent.hello["nonce"].encode(), Purpose.SESSION)
    agent.run = "run-1"
    words = {"owner": "o", "reason": "r", "proof": proof, "delegation": plain(managed.delegation())}
    assert agent.code("lock", **{**words, "ttl_s": ttl_s}) == "bad_request"


def test_a_damaged_lock_file_is_said_and_enrolment_mends_it(running: ManagedHost) -> None:
    """Which runs are fenced off is then not known, so no run gets on, and a kill still does."""
    path = running.layout.agent_state / "lock.json"
    path.write_text("{")
    agent = running.agent()
    assert running.lock(agent)["error"]["code"] == "internal"
    latched = agent.do("latch", directive=plain(running.kill()))
    assert latched["latch"] == 1 and "fence" in latched["problems"][0]
    assert "lock state" in running.enrol().changed
    assert running.lock(running.agent())["result"]["fence"] > 1_700_000_000


def test_sigkill_of_the_holder_leaves_a_lease_and_no_more(managed: ManagedHost) -> None:
    """The same run takes it up in a new session."""
    agent = managed.holding(managed.process())
    agent.kill()
    assert managed.lock(managed.agent(), takeover=True)["result"]["fence"] == 2


def test_journal_is_written_by_the_holder_and_read_by_anybody(managed: ManagedHost) -> None:
    """Entries carry run and host time; another run's name, or a huge entry, is refused; a torn line is passed over."""
    agent, reader = managed.locked(), managed.agent()
    agent.do("journal", append={"phase": "staged", "release": "r"})
    with (managed.layout.agent_state / "journal.jsonl").open("ab") as file:
        file.write(b'{"torn": ')
    agent.do("journal", append={"phase": "switched"})
    assert agent.code("journal", append={"run": "run-2"}) == "bad_request"
    assert agent.code("journal", append={"x": "y" * 100_000}) == "bad_request"
    entries = reader.do("journal", read=True)["entries"]
    assert [(entry["run"], entry["phase"]) for entry in entries] == [("run-1", "staged"), ("run-1", "switched")]
    assert entries[0]["wall_ns"] <= SystemClock().wall_ns()
    reader.run = "run-2"
    assert reader.do("journal", read=True) == {"entries": []}


def test_a_full_journal_is_turned_over(managed: ManagedHost) -> None:
    """It is bounded, and what was turned over is still read."""
    path = managed.layout.agent_state / "journal.jsonl"
    path.write_bytes(b'{"run":"old","phase":"x"}\n' + b" " * (4 << 20))
    agent = managed.locked()
    agent.do("journal", append={"phase": "new"})
    assert path.stat().st_size < 1000
    assert [entry["run"] for entry in agent.do("journal", read=True)["entries"]] == ["run-1"]
    agent.run = None
    assert {entry["run"] for entry in agent.do("journal", read=True)["entries"]} == {"old", "run-1"}


def test_witnesses_keep_the_newest_head_and_refuse_a_cut_chain(managed: ManagedHost) -> None:
    """A chain that is shorter, or another at the same place, is refused and what was kept is shown (A02)."""  # A02
    agent = managed.agent()
    agent.do("witness", chain="audit-1", seq=5, head="aa")
    agent.do("witness", chain="audit-1", seq=5, head="aa")
    agent.do("witness", chain="audit-1", seq=7, head="bb")
    answer = agent.ask("witness", chain="audit-1", seq=6, head="cc")
    assert (answer["error"]["code"], answer["error"]["detail"]["kept"]["head"]) == ("older", "bb")
    assert agent.code("witness", chain="audit-1", seq=7, head="other") == "older"
    assert [(head["seq"], head["head"]) for head in agent.do("witness", read=True)["heads"]] == [(7, "bb")]
    assert agent.do("facts")["witnesses"][0]["chain"] == "audit-1"


def test_the_number_of_chains_is_bounded(managed: ManagedHost) -> None:
    """A host is no rubbish dump."""
    heads = {f"c{n}": {"chain": f"c{n}", "seq": 1, "head": "h", "wall_ns": 1} for n in range(256)}
    Path(managed.layout.agent_state / "witnesses.json").write_text(json.dumps(heads))
    assert managed.agent().code("witness", chain="one-more", seq=1, head="h") == "bad_request"
    assert managed.agent().hello["host"] == HOST
