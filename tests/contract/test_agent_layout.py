"""The agent imports nothing of ours, so it keeps copies: each is held to the contract it copies (issue 2: agent)."""

from __future__ import annotations

import ast
import base64
import json
import re
import subprocess
import zlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.agenthost import AGENT, ManagedHost
from tradeops.agent import errors as agent_errors
from tradeops.agent import files as agent_files
from tradeops.agent import hostfile, lock, manifest, names, offer, session, verbs, verify, vitals, wire
from tradeops.agent.processes import Process as AgentProcess
from tradeops.agent.sshkey import parse_line as agent_key
from tradeops.base.digest import canonical_json, is_digest
from tradeops.base.errors import Refused
from tradeops.contracts import agent as contract
from tradeops.contracts import entitle, layout, pages, policy
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.host import HostFile
from tradeops.contracts.identity import Identity
from tradeops.contracts.policy import Person, Policy
from tradeops.contracts.publickey import parse_line
from tradeops.contracts.signature import RunKey
from tradeops.contracts.status import Vitals
from tradeops.fleet.platform import SERVICE

ROOT = Path("/opt/tradeops")
SOURCES = sorted(AGENT.glob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_the_agent_is_written_for_python_3_9(path: Path) -> None:
    """Grammar of the oldest interpreter that a host may have."""
    ast.parse(path.read_text(), filename=str(path), feature_version=(3, 9))


def _public_properties(kind: type) -> set[str]:
    return {name for name, value in vars(kind).items() if isinstance(value, property)}


def test_paths_are_those_of_the_layout() -> None:
    """Every path of the contract that the agent knows is the same one."""
    ours, theirs = names.Layout(ROOT), layout.HostLayout(ROOT)
    shared = _public_properties(layout.HostLayout) & _public_properties(names.Layout)
    assert shared >= {
        "platform",
        "host_file",
        "policy_file",
        "roster_file",
        "tls",
        "agent_state",
        "latched",
        "guard_state",
        "stop_page",
    }
    assert {name: getattr(ours, name) for name in shared} == {name: getattr(theirs, name) for name in shared}
    digest = "sha256:" + "ab" * 32
    assert ours.release(digest) == theirs.release(digest)
    assert ours.blob(digest) == theirs.blobs / "ab" / ("ab" * 32)
    assert ours.slot("blue") == theirs.slot("blue") and ours.vitals_page("green") == theirs.vitals_page("green")
    assert layout.SLOTS == names.SLOTS


def test_protocol_verbs_and_codes_are_the_contracts() -> None:
    """No verb or code on one side alone; the same verbs need the lock."""
    assert session.PROTOCOL == contract.PROTOCOL and wire.LINE_BYTES_MAX == contract.LINE_BYTES_MAX
    own = {"lock", "renew", "unlock", "journal"}
    assert set(verbs.FREE) | set(verbs.ALONE) | set(verbs.INTAKE) | own == {str(verb) for verb in contract.AgentVerb}
    assert set(verbs.ALONE) | set(verbs.INTAKE) | {"renew", "unlock"} == {str(verb) for verb in contract.NEEDS_LOCK}
    codes = {value for name, value in vars(agent_errors).items() if name.isupper() and isinstance(value, str)}
    assert codes == {str(code) for code in contract.Code}


def test_documents_have_the_contracts_fields() -> None:
    """host.json and processes, field by field."""
    assert {field.name for field in fields(hostfile.HostFile)} == set(HostFile.__struct_fields__)
    public = AgentProcess(1, 2, 3, ("a",), "b", "c", 4, 5).public()
    assert msgspec.convert(public, contract.Process) == contract.Process(1, 2, 3, ("a",), "b", "c")
    assert set(public) == set(contract.Process.__struct_fields__)


def test_purposes_thresholds_and_bounds_are_the_contracts() -> None:
    """What is signed for what, how many must sign, what a run key can never be lent."""
    asked_of_hosts = set(Purpose) - {Purpose.APPROVAL, Purpose.EXCLUSION}
    assert {getattr(verify, purpose.name) for purpose in asked_of_hosts} == {purpose.value for purpose in asked_of_hosts}
    assert verify.THRESHOLD_FLOOR == policy.THRESHOLD_FLOOR and policy.SCHEMA == verify.POLICY_SCHEMA
    assert verify.SIGNATURES_MAX == entitle.SIGNATURES_MAX
    assert offer.PLATFORM_SERVICE == SERVICE
    assert lock.TTL_S_MIN > 0


@pytest.mark.parametrize("value", [{"b": [1, 2.5, None, True], "a": "é\u2028"}, [], "x", {"x": {"z": 1, "y": "\n"}}])
def test_canonical_json_is_the_same(value: Any) -> None:
    """Or a release would have two digests."""
    assert agent_files.canonical(value) == canonical_json(value)


@pytest.mark.parametrize("text", ["sha256:" + "0" * 64, "sha256:" + "G" * 64, "sha256:", "", "x" * 71, "sha256:" + "0" * 64 + "\n"])
def test_digests_are_recognised_alike(text: str) -> None:
    """A newline at the end is no digest."""
    assert names.is_digest(text) == is_digest(text)


def _json(document: object) -> Any:
    """As it travels."""
    return json.loads(msgspec.json.encode(document))


def _vitals(release: str = "r") -> Vitals:
    return Vitals(Identity("trader", release, "b", 1, "blue", 7, 8, 9), 5, "ready", 1, 2, 3, 4, {}, {}, {}, {}, {}, {}, {})


def test_vitals_are_read_as_the_contract_writes_them(tmp_path: Path) -> None:
    """Each writing is read back by both parsers alike; torn and foreign pages are none to either."""
    path = tmp_path / "vitals.page"
    writer = pages.VitalsWriter(path)
    assert vitals.read_vitals(path) is None
    for count in range(3):
        writer.write(_vitals(f"r{count}"))
        assert vitals.read_vitals(path) == _json(pages.read_vitals(path))
    page = bytearray(path.read_bytes())
    newest = 4096 if page[8] % 2 == 0 else 67584
    page[newest + 30] ^= 0xFF
    assert vitals.parse_vitals(bytes(page)) == _json(pages.parse_vitals(bytes(page)))
    for bad in (b"", bytes(pages.VITALS_BYTES), bytes(page[:-1])):
        assert vitals.parse_vitals(bad) is None and pages.parse_vitals(bad) is None
    assert (vitals.VITALS_BYTES, vitals.PAYLOAD_MAX) == (pages.VITALS_BYTES, pages.VITALS_PAYLOAD_MAX)


def test_the_stop_page_is_one_layout(tmp_path: Path) -> None:
    """The agent's new page is the contract's; its latch is the contract's latch; its reading of the beat is the guard's beat."""
    path = tmp_path / "stop.page"
    path.write_bytes(vitals.halted_page())
    made = tmp_path / "made.page"
    pages.StopPage.create(made)
    assert path.read_bytes() == made.read_bytes()
    page = pages.StopPage(path, writable=True)
    page.write(
        epoch=2,
        may_send=True,
        beat_ns=77,
        latch_cleared=3,
        scope_generation=0,
        narrowing=pages.UNNARROWED,
        token=pages.NOBODY,
        durable=False,
    )
    assert vitals.read_beat(path) == 77
    assert vitals.raise_latch(path) == 4
    words = page.read()
    assert words and (words.latch, words.latched, words.latch_cleared, words.may_send) == (4, True, 3, True)
    assert vitals.read_latch(path.read_bytes()) == vitals.Latch(4, 3, True)
    assert vitals.pack_latch(4) == pages.pack_latch(4)
    page.close()


def test_keys_are_told_apart_alike(tmp_path: Path) -> None:
    """Every kind that ssh-keygen makes here: the same line, and the same secret is the same secret to both."""
    for kind, more in (("ed25519", ()), ("ecdsa", ("-b", "384")), ("rsa", ("-b", "2048"))):
        path = tmp_path / kind
        subprocess.run(["ssh-keygen", "-q", "-t", kind, *more, "-N", "", "-f", str(path)], check=True)
        line = path.with_suffix(".pub").read_text().strip()
        ours, theirs = agent_key(line), parse_line(line)
        assert ours and ours.line == theirs.line
    one, two = RunKey.generate().public_line, RunKey.generate().public_line
    first, second = agent_key(one), agent_key(two)
    assert first and second and first.material != second.material
    sk_blob = b"\0\0\0\x1ask-ssh-ed25519@openssh.com" + base64.b64decode(one.split()[1])[15:] + b"\0\0\0\x04ssh:"
    sk = agent_key("sk-ssh-ed25519@openssh.com " + base64.b64encode(sk_blob).decode())
    assert sk and sk.material == first.material
    assert parse_line(sk.line).material == parse_line(one).material


def test_people_are_counted_alike() -> None:
    """Shared keys make one vote of two people, to agent and guard alike (A04)."""  # A04
    keys = [RunKey.generate() for _ in range(3)]
    lines = [key.public_line for key in keys]
    for shares in ((lines[:1], lines[1:2]), (lines[:1], lines[:2]), (lines[:1], lines[1:3]), (lines[:2], lines[1:3])):
        people = tuple(Person(f"p{index}", tuple(held), ("r",)) for index, held in enumerate(shares))
        said = Policy(policy.SCHEMA, "f", 1, people, {"r": ("kill",)}, {"kill": 2})
        body = b"{}"
        envelope = Envelope.of(body, *(key.sign(body, Purpose.DIRECTIVE) for key in keys))
        try:
            theirs = len(entitle.entitled(said, "kill", envelope, Purpose.DIRECTIVE, now_ns=None, host=None).people)
        except Refused:
            theirs = 1
        parsed = verify.parse_policy(msgspec.json.encode(said))
        try:
            ours = len(verify.entitled(parsed, "kill", _json(envelope), Purpose.DIRECTIVE.value))
        except agent_errors.AgentError:
            ours = 1
        assert ours == theirs


def test_a_release_has_one_id(tmp_path: Path) -> None:
    """The agent's digest of a manifest is the contract's."""
    host = ManagedHost(tmp_path)
    release = host.release(files={"a": b"1"})
    found = manifest.parse(json.loads(zlib.decompress(release.announcement())))
    assert found.id == release.id
    assert [file.path for file in found.files] == sorted(release.content)


@pytest.mark.parametrize("name", ["facts", "prove", "lock", "latch"])
def test_the_docstring_of_the_protocol_names_the_verb(name: str) -> None:
    """What operators' rooms are written against."""
    assert re.search(rf"^\s*{name} \{{", contract.AgentVerb.__doc__ or "", re.MULTILINE)
