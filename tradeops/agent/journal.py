"""What runs leave with a host: their journal (read back after the operator's machine is lost) and chain heads (A02)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from . import ask
from .errors import BAD_REQUEST, OLDER, AgentError, bad_request
from .files import canonical, flocked, fsync_dir, read_object, write_atomic
from .hostfile import Context

ENTRY_BYTES_MAX = 64 << 10
JOURNAL_BYTES_MAX = 4 << 20
ENTRIES_READ_MAX = 5000
CHAINS_MAX = 256
_WAIT_S = 2.0


def append(context: Context, run: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Add one entry of `run`, fsynced, with the host's time; a full journal is turned over. Raises AgentError, OSError."""
    entry = {"run": run, "wall_ns": context.clock.wall_ns(), **entry}
    if entry["run"] != run:
        raise bad_request("a journal entry must be of the run that writes it")
    line = canonical(entry) + b"\n"
    if len(line) > ENTRY_BYTES_MAX:
        raise bad_request(f"a journal entry of {len(line)} bytes; at most {ENTRY_BYTES_MAX} fit")
    path = _journal(context)
    with flocked(context.layout.agent_state / "journal.flock", context.clock, _WAIT_S):
        if path.exists() and path.stat().st_size + len(line) > JOURNAL_BYTES_MAX:
            path.replace(path.with_suffix(".1"))
        _append(path, line)
    return {}


def read(context: Context, run: str | None) -> dict[str, Any]:
    """The newest entries, of one run or of all; a line torn by a power cut is passed over. Raises OSError."""
    path = _journal(context)
    lines = [line for part in (path.with_suffix(".1"), path) if part.exists() for line in part.read_bytes().splitlines()]
    entries = [entry for line in lines for entry in [_parsed(line)] if entry and (run is None or entry.get("run") == run)]
    return {"entries": entries[-ENTRIES_READ_MAX:]}


def witness(context: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Keep a chain's newest head. Raises AgentError: a shorter chain, or another head at the same place, is refused and shown."""
    chain = ask.identifier(args.get("chain"), "chain")
    seq = ask.whole(args, "seq", low=0, high=1 << 62)
    head = ask.text(args, "head", chars_max=256)
    with flocked(context.layout.agent_state / "journal.flock", context.clock, _WAIT_S):
        heads = _heads(context)
        kept = heads.get(chain)
        if kept and (seq < kept["seq"] or (seq == kept["seq"] and head != kept["head"])):
            said = f"chain {chain} was at {kept['seq']} ({kept['head']}) here, so {seq} ({head}) is not its next head"
            raise AgentError(OLDER, said, next="`tradeops audit verify`: the chain was cut or rewritten", detail={"kept": kept})
        if not kept and len(heads) >= CHAINS_MAX:
            raise AgentError(BAD_REQUEST, f"this host keeps {CHAINS_MAX} chains already")
        heads[chain] = {"chain": chain, "seq": seq, "head": head, "wall_ns": context.clock.wall_ns()}
        write_atomic(_witnesses(context), canonical(heads))
    return {}


def heads(context: Context) -> list[dict[str, Any]]:
    """The kept heads. Raises AgentError, OSError."""
    return list(_heads(context).values())


def _heads(context: Context) -> dict[str, Any]:
    return read_object(_witnesses(context)) or {}


def _witnesses(context: Context) -> Path:
    return context.layout.agent_state / "witnesses.json"


def _journal(context: Context) -> Path:
    return context.layout.agent_state / "journal.jsonl"


def _append(path: Path, line: bytes) -> None:
    """One write, so that a full disk leaves a torn line at most, which the next append ends."""
    fresh = not path.exists()
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            line = b"\n" + line
        view = memoryview(line)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    if fresh:
        fsync_dir(path.parent)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
