"""The documents between rooms: their encoding, and the small rules they carry."""

from __future__ import annotations

import base64
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeops.base.errors import UsageError
from tradeops.contracts import directive, manifest
from tradeops.contracts.agent import NEEDS_LOCK, AgentVerb
from tradeops.contracts.codec import decode, encode, unknown_fields
from tradeops.contracts.directive import RISK_REDUCING, Directive, Scope, Verb
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.layout import HostLayout
from tradeops.contracts.manifest import Manifest, Release, Start, Subject
from tradeops.contracts.policy import VERBS, Policy

KILL = Directive(directive.SCHEMA, "k1", Verb.KILL, "f", ("*",), "why", 1, 2)


def test_a_kill_keeps_its_bytes_for_good() -> None:
    """Hosts of every age must understand it: the shape is held here word for word."""
    assert encode(KILL) == (
        b'{"args":{},"ends":[],"expires_ns":2,"fleet":"f","hosts":["*"],"id":"k1","issued_ns":1,"reason":"why","run":null,'
        b'"schema":"tradeops/directive/v1","scope":{"strategies":[],"symbols":[],"venues":[]},"verb":"kill"}'
    )
    assert decode(encode(KILL), Directive, source="x") == KILL


def test_many_threads_may_read_a_type_for_the_first_time() -> None:
    """The operator's process ended with SIGSEGV when eight threads did: msgspec looks a type up while others already use it."""
    program = """
    import sys, threading
    import msgspec
    from tradeops.contracts.codec import convert
    sys.setswitchinterval(1e-6)

    def fresh():
        parts = [msgspec.defstruct(f"Part{n}", [("a", int), ("b", str), ("c", tuple[str, ...], ())]) for n in range(30)]
        return msgspec.defstruct("Whole", [(f"x{n}", part) for n, part in enumerate(parts)])

    raw = {f"x{n}": {"a": 1, "b": "x"} for n in range(30)}
    for _ in range(100):
        whole, ready = fresh(), threading.Barrier(8)
        threads = [threading.Thread(target=lambda: (ready.wait(), convert(raw, whole))) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_unknown_fields_are_passed_over_and_named() -> None:
    """Telemetry and kills tolerate them; whoever must refuse asks for their names."""
    later = encode(KILL)[:-1] + b',"colour":"red"}'
    assert decode(later, Directive, source="x") == KILL
    assert unknown_fields(later, Directive) == {"colour"}
    assert unknown_fields(b"[1]", Directive) == set()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'{"verb":"kill"}', b"\xff\xfe", b'{"schema":1}', b"[" * 2000])
def test_malformed_documents_name_their_source(data: bytes) -> None:
    """Cut, of another kind, not UTF-8, too deep."""
    with pytest.raises(UsageError, match="not a Directive") as caught:
        decode(data, Directive, source="host-3")
    assert caught.value.where == "host-3"


@given(st.binary(max_size=60))
def test_any_bytes_are_a_document_or_an_error(data: bytes) -> None:
    """No input gets out any other way."""
    with pytest.raises(UsageError):
        decode(data, Directive, source="x")


def test_the_star_alone_means_every_host() -> None:
    """Named, or all; a star among names means only its name."""
    assert KILL.names("host-1")
    some = Directive(directive.SCHEMA, "k", Verb.HALT, "f", ("host-1", "*"), "r", 1, 2)
    assert some.names("host-1")
    assert not some.names("host-2")


def test_a_scope_narrows_by_every_list_that_is_not_empty() -> None:
    """K01: an order is in a subset when all lists that say something name it."""
    order = {"venue": "X", "symbol": "A", "strategy": "s"}
    assert Scope().everything()
    assert Scope().covers(**order)
    assert Scope(venues=("X", "Y"), symbols=("A",)).covers(**order)
    assert not Scope(venues=("X",), symbols=("B",)).covers(**order)
    assert not Scope(strategies=("t",)).everything()


def test_an_envelope_carries_exact_bytes() -> None:
    """What was signed is what is read; base64 that is broken is an error."""
    envelope = Envelope.of(b"\x00\xffpayload", "sig-1", "sig-2")
    assert envelope.body() == b"\x00\xffpayload"
    assert decode(encode(envelope), Envelope, source="x") == envelope
    for broken in ("a", "!!!!", base64.b64encode(b"x").decode() + "\n!"):
        with pytest.raises(ValueError, match=r"base64|padding|characters|data"):
            Envelope(broken, ()).body()


def test_no_policy_lowers_the_floor() -> None:
    """K07: a permit needs two people whatever the document says; nothing needs fewer than one."""
    policy = Policy("s", "f", 1, (), {}, {"permit": 1, "kill": 0, "deploy": 3})
    assert [policy.threshold(verb) for verb in ("permit", "kill", "deploy", "halt")] == [2, 1, 3, 1]
    assert Policy("s", "f", 1, (), {}, {"permit": 3}).threshold("permit") == 3


def test_every_directive_of_a_person_is_a_verb_of_the_policy() -> None:
    """Roles can grant each; a lease is spoken by a run key alone, under `deploy`."""
    assert {verb.value for verb in Verb} - {"lease"} <= set(VERBS)
    assert {Verb.KILL, Verb.HALT} <= RISK_REDUCING
    assert not {Verb.PERMIT, Verb.RESUME, Verb.ACTIVATE} & RISK_REDUCING


def test_stopping_and_looking_need_no_lock() -> None:
    """K04: the latch, facts and proof are free; whatever changes a release is not."""
    assert not NEEDS_LOCK & {AgentVerb.LATCH, AgentVerb.FACTS, AgentVerb.PROVE, AgentVerb.LOCK}
    assert {AgentVerb.SWITCH, AgentVerb.START, AgentVerb.STOP, AgentVerb.ASSEMBLE} <= NEEDS_LOCK


def release(**changes: object) -> Manifest:
    """A small manifest."""
    fields: dict[str, object] = {"service": "svc", "version": "1", "number": 1, "files": (), "python": None, "limits": None}
    predicate = Release(start=Start(("run",)), **{**fields, **changes})  # type: ignore[arg-type] # the fields vary by test
    return Manifest(manifest.STATEMENT_TYPE, (Subject("svc", {"sha256": "0"}),), manifest.PREDICATE_TYPE, predicate)


def test_a_manifest_is_an_in_toto_statement() -> None:
    """Its own field names, and an id that is the digest of the canonical bytes."""
    assert encode(release()).startswith(b'{"_type":"https://in-toto.io/Statement/v1","predicate":{')
    assert decode(encode(release()), Manifest, source="x").id() == release().id()


@given(st.sampled_from([{"version": "2"}, {"number": 2}, {"removed": ("a",)}, {"previous": "sha256:0"}, {"service": "other"}]))
def test_any_change_is_another_release(change: dict[str, object]) -> None:
    """D16: the id covers everything that the manifest says."""
    assert release(**change).id() != release().id()


def test_everything_of_a_host_lies_below_its_root() -> None:
    """One folder to own, one to remove."""
    layout = HostLayout(Path("/srv/t"))
    named = [getattr(layout, name) for name, kind in vars(HostLayout).items() if isinstance(kind, property)]
    assert len(named) == len(set(named)) > 10
    assert all(path.is_relative_to("/srv/t") for path in [*named, layout.slot("blue"), layout.release("sha256:ab")])
    assert layout.release("sha256:ab").name == "ab"
