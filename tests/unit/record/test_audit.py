"""The audit chain: before the act, on disk, found when touched, and never in the way of a kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeops.base.clock import SystemClock, VirtualClock
from tradeops.base.digest import canonical_json, digest_bytes
from tradeops.base.errors import ExitCode, TradeopsError, UsageError
from tradeops.contracts.agent import Witness
from tradeops.record.audit import Audit, NotRecorded, head_file
from tradeops.record.chain import as_document, compare, export, read_rows, select, verify_chain
from tradeops.record.row import ROW_BYTES_MAX, Kind, parse_row, presentable


def new(path: Path) -> Audit:
    return Audit(path / "audit.jsonl", clock=VirtualClock(), actor="operator-1")


def filled(path: Path, pairs: int = 5) -> Audit:
    audit = new(path)
    for number in range(pairs):
        intent = audit.intent("deploy", run=f"run-{number}", hosts=("host-1", "host-2"), detail={"release": "sha256:1"})
        audit.outcome(intent, "done", detail={"took": 1.5})
    return audit


def note(audit: Audit, lines: list[bytes]) -> None:
    """The writer's own note, forged to fit `lines`."""
    first, last = (json.loads(line) for line in (lines[0], lines[-1]))
    head_file(audit.path).write_bytes(canonical_json({"chain": first["hash"], "seq": last["seq"], "head": last["hash"]}))


def lines_of(audit: Audit) -> list[bytes]:
    return audit.path.read_bytes().splitlines()


def write_lines(audit: Audit, lines: list[bytes]) -> None:
    audit.path.write_bytes(b"".join(line + b"\n" for line in lines))


def rehashed(lines: list[bytes], actor: str) -> list[bytes]:
    """The whole chain as a forger would write it: other words, and every hash made anew."""
    forged, previous = [], "sha256:" + "0" * 64
    for line in lines:
        fields = json.loads(line)
        del fields["hash"]
        fields |= {"actor": actor, "prev": previous}
        previous = digest_bytes(canonical_json(fields))
        forged.append(canonical_json({**fields, "hash": previous}))
    return forged


def test_intent_is_on_disk_before_the_act_and_outcome_after_it(tmp_path: Path) -> None:
    """A01: the pair brackets the act; who, what, which hosts, and the result are there."""
    audit = new(tmp_path)
    with audit.pair("kill", run="run-1", hosts=("host-1",), detail={"reason": "test"}) as pair:
        before = list(read_rows(audit.path))
        pair.result, pair.detail = "8 of 8", {"ms": 12.5}
    assert [row.kind for row in before] == [Kind.GENESIS, Kind.INTENT]
    last = list(read_rows(audit.path))[-1]
    assert (last.kind, last.of, last.result, last.actor, last.detail) == (Kind.OUTCOME, 2, "8 of 8", "operator-1", {"ms": "12.5"})
    assert audit.path.stat().st_mode & 0o777 == 0o600


def test_an_act_that_fails_has_its_outcome_too(tmp_path: Path) -> None:
    """A01: whatever ends the block is recorded, and still raised."""
    audit = new(tmp_path)
    with pytest.raises(KeyboardInterrupt), audit.pair("deploy"):
        raise KeyboardInterrupt
    assert list(read_rows(audit.path))[-1].result == "KeyboardInterrupt"


def test_a_whole_chain_verifies(tmp_path: Path) -> None:
    """A01: rows of several objects on one file are one chain, and an intent without outcome is named."""
    audit = filled(tmp_path)
    open_intent = Audit(audit.path, clock=VirtualClock(), actor="risk-1").intent("permit")
    report = verify_chain(audit.path)
    assert report.whole()
    assert report.rows == 12
    assert report.unfinished == (open_intent,)
    assert audit.head() == (report.chain, 12, report.head)


def edit(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[3].replace(b"host-1", b"host-9"), *lines[4:]]


def edit_and_rehash(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], *rehashed(lines[3:4], "somebody"), *lines[4:]]


TAMPERINGS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "edit": edit,
    "edit and rehash the row": edit_and_rehash,
    "delete": lambda lines: lines[:3] + lines[4:],
    "delete the first": lambda lines: lines[1:],
    "reorder": lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]],
    "truncate": lambda lines: lines[:-2],
    "empty": lambda _: [],
    "repeat": lambda lines: [*lines, lines[-1]],
    "respell": lambda lines: [*lines[:3], lines[3].replace(b":", b": ", 1), *lines[4:]],
    "not json": lambda lines: [*lines[:3], b"\xff\xfe", *lines[4:]],
    "nan": lambda lines: [*lines[:3], b'{"seq":NaN}', *lines[4:]],
    "another chain": lambda lines: rehashed(lines, "somebody"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_found(tmp_path: Path, name: str) -> None:
    """A01: edit, delete, reorder, truncate: each is found in the file itself or by the head its writer noted."""
    audit = filled(tmp_path)
    write_lines(audit, TAMPERINGS[name](lines_of(audit)))
    assert not verify_chain(audit.path).whole()


@given(data=st.data())
def test_any_changed_byte_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A01: no byte of the file can change unnoticed."""
    audit = filled(tmp_path_factory.mktemp("audit"), pairs=2)
    raw = bytearray(audit.path.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    audit.path.write_bytes(raw)
    report = verify_chain(audit.path)
    assert not report.whole()


def witness(audit: Audit) -> Witness:
    chain, seq, head = audit.head()
    return Witness(chain, seq, head, 0)


def test_witnesses_confirm_an_honest_chain(tmp_path: Path) -> None:
    """A02: the chain may have grown since; what they saw is still there. Nobody heard is no confirmation."""
    audit = filled(tmp_path, 2)
    seen = witness(audit)
    audit.intent("deploy")
    testimony = compare(audit.path, {"host-1": [seen], "host-2": [], "host-3": [seen]})
    assert testimony.holds()
    assert (testimony.confirmed_to, testimony.witnesses) == (seen.seq, 2)
    assert not compare(audit.path, {}).holds()


def test_a_wholly_rewritten_chain_is_found_by_its_witnesses(tmp_path: Path) -> None:
    """A02: every hash made anew and the writer's own note with it: whole by itself, and the hosts know better."""
    audit = filled(tmp_path)
    heads = {"host-1": [witness(audit)], "host-2": [witness(audit)]}
    forged = rehashed(lines_of(audit), "somebody")
    kept_first = [lines_of(audit)[0], *forged[1:]]
    write_lines(audit, forged)
    assert not verify_chain(audit.path).whole()
    note(audit, forged)
    assert verify_chain(audit.path).whole()
    testimony = compare(audit.path, heads)
    assert len(testimony.problems) == 2
    assert "host-1 saw row 11" in testimony.problems[0]
    write_lines(audit, kept_first)
    assert "rewritten" in compare(audit.path, heads).problems[0]


def test_a_cut_off_or_exchanged_chain_is_found_by_its_witnesses(tmp_path: Path) -> None:
    """A02: the end is gone with the writer's note; or a new chain was begun. Chains of other machines are named and passed over."""
    audit = filled(tmp_path)
    seen = witness(audit)
    write_lines(audit, lines_of(audit)[:-3])
    assert "cut off" in compare(audit.path, {"host-1": [seen]}).problems[0]
    (tmp_path / "other").mkdir()
    other = filled(tmp_path / "other")
    assert "another machine's" in compare(other.path, {"host-1": [seen]}).problems[0]
    assert compare(other.path, {"host-1": [seen, witness(other)]}, others={seen.chain}).holds()


def test_no_log_no_act(tmp_path: Path) -> None:
    """A03: a folder that is a file: NotRecorded before the block runs, refused by exit code 9."""
    (tmp_path / "file").write_text("")
    audit = Audit(tmp_path / "file" / "audit.jsonl", clock=VirtualClock(), actor="operator-1")
    with pytest.raises(NotRecorded, match="cannot be written") as caught, audit.pair("deploy"):
        raise AssertionError("the act was begun")
    assert caught.value.exit_code is ExitCode.REFUSED
    assert caught.value.holds is not None


FULL_DISK = """
import resource, sys
from pathlib import Path
from tradeops.base.clock import SystemClock
from tradeops.record.audit import Audit, NotRecorded
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
audit = Audit(path, clock=SystemClock(), actor="operator-1")
audit.intent("deploy")
size = path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, size + 100))
try:
    audit.intent("deploy")
except NotRecorded:
    sys.exit(0 if path.stat().st_size == size else 4)
sys.exit(3)
"""


def test_a_disk_that_fills_in_the_middle_of_a_row_leaves_no_half_row(tmp_path: Path) -> None:
    """A03: the write fails part way; the act is refused and the chain is as before."""
    path = tmp_path / "audit.jsonl"
    ran = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], check=False, capture_output=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    report = verify_chain(path)
    assert report.whole()
    assert report.torn == 0


def test_a_torn_last_line_is_mended_aloud(tmp_path: Path) -> None:
    """A01: a power cut in mid-write leaves a half row, whose act was never begun: cut off, and the next row says so."""
    audit = filled(tmp_path, 1)
    with audit.path.open("ab") as file:
        file.write(b'{"seq":4,"half')
    report = verify_chain(audit.path)
    assert report.whole()
    assert report.torn == 14
    new(tmp_path).intent("deploy")
    rows = list(read_rows(audit.path))
    assert [row.kind for row in rows[-2:]] == [Kind.MENDED, Kind.INTENT]
    assert rows[-2].detail["bytes"] == 14
    assert verify_chain(audit.path).whole()


def test_a_first_row_torn_by_a_power_cut_begins_the_chain_anew(tmp_path: Path) -> None:
    """A01: nothing was confirmed yet, so nothing is lost."""
    (tmp_path / "audit.jsonl").write_bytes(b'{"seq":1')
    audit = filled(tmp_path, 1)
    assert verify_chain(audit.path).rows == 3


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "last row", "note"])
def test_a_damaged_log_takes_no_more_rows(tmp_path: Path, damage: str) -> None:
    """A01, A03: nothing is built on a chain that is gone, cut off or broken at its end."""
    audit = filled(tmp_path)
    lines = lines_of(audit)
    if damage == "gone":
        audit.path.unlink()
    elif damage == "empty":
        write_lines(audit, [])
    elif damage == "cut":
        write_lines(audit, lines[:-1])
    elif damage == "last row":
        write_lines(audit, [*lines[:-1], b'{"seq":11}'])
    else:
        head_file(audit.path).write_bytes(b"?")
        assert not verify_chain(audit.path).whole()
    with pytest.raises(NotRecorded, match="damaged"):
        new(tmp_path).intent("deploy")


def test_a_writer_that_was_stopped_does_not_hold_up_others_for_ever(tmp_path: Path) -> None:
    """A03: the lock has a deadline."""
    import fcntl

    audit = filled(tmp_path, 1)
    held = os.open(tmp_path / "audit.jsonl.lock", os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        with pytest.raises(NotRecorded, match="another writer"):
            audit.intent("deploy")
    finally:
        os.close(held)
    audit.intent("deploy")


def test_many_writers_make_one_chain(tmp_path: Path) -> None:
    """A01: threads and objects side by side lose no row and fork no chain."""
    path = tmp_path / "audit.jsonl"
    audits = [Audit(path, clock=SystemClock(), actor=f"operator-{number}") for number in range(4)]

    def work(audit: Audit) -> None:
        for _ in range(5):
            with audit.pair("verify"):
                pass

    threads = [threading.Thread(target=work, args=(audit,)) for audit in audits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = verify_chain(path)
    assert report.whole()
    assert (report.rows, report.unfinished) == (41, ())


def test_secrets_never_reach_the_log(tmp_path: Path) -> None:
    """Names and contents of secrets are struck out at every depth; odd values become text; long ones are cut."""
    pem = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----"
    detail = presentable(
        {
            "password": "hunter2",
            "deep": [{"api_key": "x", "text": f"see {pem}"}],
            "n": 1.5,
            "big": 1 << 80,
            "long": "x" * 20_000,
            "s": {2, 1},
        }
    )
    spelled = json.dumps(detail)
    assert "hunter2" not in spelled
    assert "AAAA" not in spelled
    assert detail["deep"][0]["api_key"] == "[redacted]"
    assert (detail["n"], detail["big"], detail["s"]) == ("1.5", hex(1 << 80), [1, 2])
    assert len(detail["long"]) < 17_000
    nested: object = "bottom"
    for _ in range(40):
        nested = [nested]
    assert "[too deep]" in json.dumps(presentable({"nested": nested}))
    audit = new(tmp_path)
    audit.intent("deploy", detail={"token": "secret-value", "lone": "\ud800"})
    assert b"secret-value" not in audit.path.read_bytes()
    with pytest.raises(TradeopsError, match="fit in a row"):
        audit.intent("deploy", detail={str(n): "x" * 16_000 for n in range(100)})
    assert verify_chain(audit.path).whole()


def test_outcomes_belong_to_intents(tmp_path: Path) -> None:
    """A01: an outcome of nothing is refused; one of a row written by an earlier process is fine."""
    audit = filled(tmp_path, 1)
    with pytest.raises(UsageError, match="no intent"):
        audit.outcome(3, "done")
    intent = audit.intent("deploy", run="run-9")
    new(tmp_path).outcome(intent, "aborted")
    assert list(read_rows(audit.path))[-1].run == "run-9"
    with pytest.raises(UsageError, match="no intent"):
        audit.outcome(99, "done")


def test_show_and_export(tmp_path: Path) -> None:
    """Rows are chosen by run, verb, host; an export carries the lines as they are hashed and what verifying came to."""
    audit = filled(tmp_path, 3)
    audit.intent("kill", hosts=("host-7",))
    rows = list(read_rows(audit.path))
    assert {row.seq for row in select(rows, run="run-1")} == {4, 5}
    assert [row.verb for row in select(rows, host="host-7")] == ["kill"]
    assert len(as_document(select(rows, verb="deploy"))) == 6
    document = export(audit.path)
    assert json.loads(json.dumps(document)) == document
    assert [parse_row(line.encode()).seq for line in document["lines"]] == list(range(1, 9))
    assert document["problems"] == []
    assert document["unfinished"] == [8]
    with pytest.raises(UsageError, match="no audit log"):
        export(tmp_path / "nothing")


def test_a_lost_note_is_said_and_long_rows_are_read_back(tmp_path: Path) -> None:
    """A01: without the writer's note a cut-off end would go unseen here, so its absence is a finding; the log goes on."""
    audit = filled(tmp_path, 1)
    audit.intent("deploy", detail={str(n): "x" * 16_000 for n in range(12)})
    head_file(audit.path).unlink()
    assert "note" in verify_chain(audit.path).problems[0].what
    audit.intent("deploy")
    assert verify_chain(audit.path).whole()
    assert verify_chain(audit.path).rows == 5


def test_a_huge_line_is_not_a_row(tmp_path: Path) -> None:
    """Hostile input: a line beyond the bound is damage, not a memory bill."""
    audit = filled(tmp_path, 1)
    with audit.path.open("ab") as file:
        file.write(b"x" * (2 * ROW_BYTES_MAX) + b"\n")
    assert not verify_chain(audit.path).whole()
