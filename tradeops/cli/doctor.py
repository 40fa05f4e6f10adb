"""`doctor`: what is missing here and on the hosts, and how to fix it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from tradeops.base.errors import ExitCode, TradeopsError
from tradeops.cli.context import Context
from tradeops.cli.options import context
from tradeops.cli.report import NO, UNKNOWN, YES, Report, table

if TYPE_CHECKING:
    from tradeops.checks.reach import Advice

_GLYPHS = {"yes": YES, "no": NO, "unknown": UNKNOWN}
_PROGRAMS = {"ssh-keygen": "signs and verifies; Debian: apt-get install openssh-client"}


def doctor(ctx: typer.Context, here: Annotated[bool, typer.Option("--here", help="Do not ask the hosts.")] = False) -> Report:
    """What is missing here and on the hosts, and how to fix it. Exit 3 when something is; changes nothing."""
    c = context(ctx)
    found = [_here(name, look) for name, look in _looks(c).items()]
    if not here and all(advice.verdict == "yes" for advice in found if advice.check in ("fleet file", "tls")):
        found += _hosts(c)
    bad = [advice for advice in found if advice.verdict != "yes"]
    rows: list[tuple[object, ...]] = [
        (f"{_GLYPHS[advice.verdict]} {advice.where}", advice.check, advice.detail, advice.fix or None) for advice in bad
    ]
    rows += [(f"{YES} {where}", f"{sum(advice.where == where for advice in found)} checks", None, None) for where in _well(found, bad)]
    return Report(
        "doctor",
        f"{len(bad)} of {len(found)} checks need something" if bad else f"all {len(found)} checks are well",
        ExitCode.PREFLIGHT if bad else ExitCode.PROVED,
        hosts=tuple(_of_host(host, found) for host in dict.fromkeys(advice.where for advice in found if advice.where != "here")),
        tables=(table(("where", "check", "found", "how to fix it"), rows),),
        data={"checks": [asdict(advice) for advice in found]},
    )


def _of_host(name: str, found: list[Advice]) -> dict[str, object]:
    """One host's entry in the document: problem is empty when all its checks are well."""
    its = [advice for advice in found if advice.where == name]
    problem = "; ".join(f"{advice.check}: {advice.detail}" for advice in its if advice.verdict != "yes")
    return {"host": name, "ok": not problem, "problem": problem, "checks": [asdict(advice) for advice in its]}


def _well(found: list[Advice], bad: list[Advice]) -> list[str]:
    odd = {advice.where for advice in bad}
    return [where for where in dict.fromkeys(advice.where for advice in found) if where not in odd]


def _here(name: str, look: Callable[[], str]) -> Advice:
    """What looking came to: its words when all is well, the error's when not."""
    from tradeops.checks.finding import Verdict
    from tradeops.checks.reach import Advice

    try:
        return Advice("here", name, Verdict.YES, look())
    except TradeopsError as error:
        return Advice("here", name, Verdict.NO, str(error), error.next or "")


def _looks(c: Context) -> dict[str, Callable[[], str]]:
    """In order: what a later one needs comes first."""
    return {
        "python": lambda: f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}",
        "programs": _programs,
        "fleet file": lambda: f"{c.fleet.name}, {c.fleet.hosts_declared} hosts",
        "state": lambda: _state(c),
        "policy": lambda: _policy(c),
        "key": lambda: f"{c.person} signs",
        "tls": lambda: _tls(c),
        "certificates": lambda: _certificates(c),
        "roster": lambda: _roster(c),
        "bindings": lambda: _bindings(c),
        "audit log": lambda: _audit(c),
        "releases": lambda: f"{len(c.store.list())} in the store",
    }


def _programs() -> str:
    for name, what in _PROGRAMS.items():
        if shutil.which(name) is None:
            raise TradeopsError(f"{name} is not installed", next=what)
    return ", ".join(_PROGRAMS)


def _state(c: Context) -> str:
    root = c.fleet.state.root
    if not root.is_dir():
        raise TradeopsError("there is no state folder", where=str(root), next="`tradeops init`")
    if root.stat().st_mode & 0o077:
        raise TradeopsError("others can read the fleet's state", where=str(root), next=f"chmod 700 {root}")
    return str(root)


def _policy(c: Context) -> str:
    from tradeops.contracts.entitle import open_policy

    policy = c.policy
    if policy.fleet != c.fleet.name:
        raise TradeopsError(f"the policy is for {policy.fleet}", where=str(c.fleet.state.policy_file), next="bring this fleet's policy")
    if policy.number == 1:
        open_policy(c.policy_envelope, None)
    return f"number {policy.number}, {len(policy.people)} people"


def _tls(c: Context) -> str:
    from tradeops.fleet.tls import TlsFiles, renewal_due

    tls, now_ns = TlsFiles(c.fleet.state.tls), c.clock.wall_ns()
    if not tls.ca.exists():
        raise TradeopsError("the fleet has no CA here", where=str(tls.folder), next="`tradeops init`")
    if renewal_due(tls.client, now_ns=now_ns):
        raise TradeopsError("the certificate for reading is due", where=str(tls.client), next="`tradeops init` renews it")
    return "CA, and a certificate for reading"


def _certificates(c: Context) -> str:
    from tradeops.fleet.tls import TlsFiles, renewal_due

    tls, now_ns = TlsFiles(c.fleet.state.tls), c.clock.wall_ns()
    due = [host.name for host in c.fleet.hosts if renewal_due(tls.guard(host.name), now_ns=now_ns)]
    if due:
        raise TradeopsError(f"the guards' certificates of {', '.join(due)} are due", next="`tradeops fleet enroll` renews them")
    return f"{len(c.fleet.hosts)} guards'"


def _roster(c: Context) -> str:
    from tradeops.fleet.roster import differences

    if c.roster is None:
        raise TradeopsError("no roster was signed yet", next="`tradeops fleet sign`")
    if odd := differences(c.roster[1], c.fleet.hosts):
        raise TradeopsError("; ".join(odd), next="`tradeops fleet sign`, when that is meant")
    return f"number {c.roster[1].number}"


def _bindings(c: Context) -> str:
    from tradeops.contracts.codec import encode

    stale = [name for name, binding in c.fleet.bindings.items() if name not in c.bindings or c.bindings[name].body() != encode(binding)]
    if stale:
        raise TradeopsError(f"the signed bindings of {', '.join(stale)} are not the fleet file's", next="`tradeops fleet sign`")
    return f"{len(c.bindings)} signed"


def _audit(c: Context) -> str:
    from tradeops.record.chain import verify_chain

    path = c.fleet.state.audit
    if not path.exists():
        return "not begun yet"
    found = verify_chain(path)
    if not found.whole():
        raise TradeopsError(f"the audit log is damaged: {found.problems[0].what}", where=str(path), next="`tradeops audit verify`")
    return f"{found.rows} rows, whole"


def _hosts(c: Context) -> list[Advice]:
    from tradeops.checks.reach import reach

    try:
        return reach(c.fleet.hosts, c.agents, c.controls, c.fan_out, c.clock, timeout_s=c.fleet.deadlines.connect)
    finally:
        c.ssh.close()
