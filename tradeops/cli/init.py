"""`init`: a fleet's files, its CA and its first policy. What is there already stays as it is."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradeops.base.errors import UsageError
from tradeops.cli.context import Context
from tradeops.cli.options import context
from tradeops.cli.report import YES, Report, table

if TYPE_CHECKING:
    from tradeops.contracts.signature import Signer

_PERSON = re.compile(r"(?P<name>[a-z][a-z0-9-]{0,39})=(?P<key>.+):(?P<roles>[a-z,-]+)")
_SERVICE = """\
# What a release of this service is. `tradeops build` reads it; changing it is a release.
service: trader
version: "1"
kind: trader # our own daemon, with its locked libraries; `tree` packs this folder as it is
limits: # every release carries its own; the tighter of these and the binding's hold
  instruments: [ACME, GLOBEX]
  venues: [xsim]
  order_quantity_max: "100"
  order_price_max: "1000"
  order_value_max: "100000"
  order_count_max: 10000
  order_rate_per_s_max: 50
  position_max: "1000"
"""


@dataclass(frozen=True)
class Named:
    """A `--person`: name, key file, roles."""

    name: str
    key: Path
    roles: tuple[str, ...]


@dataclass(frozen=True)
class Terms:
    """What else the first policy says, see contracts.policy."""

    approvals: int
    apart: tuple[str, ...]
    hosts_min: int


def init(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Option("--name", help="The fleet's name, for a new fleet file.")] = None,
    person: Annotated[
        list[str] | None, typer.Option("--person", metavar="NAME=KEYFILE:ROLES", help="A person of the first policy; may be given again.")
    ] = None,
    approvals: Annotated[int, typer.Option("--approvals", metavar="N", min=0, help="Of every plan, in the first policy.")] = 0,
    apart: Annotated[
        str, typer.Option("--apart", metavar="DUTIES", help="Whose parts in an approved deploy need people of their own.")
    ] = "author,approver,executor",
    hosts_min: Annotated[
        int, typer.Option("--hosts-min", metavar="N", min=0, help="Of a deploy that leaves hosts out [more than half].")
    ] = 0,
) -> Report:
    """Scaffold fleet.yml, a service, playbooks, the fleet's CA and, with --person, its first policy. Overwrites nothing.

    Roles: operator (everything), risk (permit, kill, halt, resume, approve), release, sentinel. Two people must be able to permit.
    """
    c = context(ctx)
    people = [_person(text) for text in person or ()]
    made = _files(c.options.fleet, name)
    state = c.fleet.state
    state.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    state.root.chmod(0o700)
    made += _tls(c)
    made += _policy(c, people, Terms(approvals, tuple(apart.replace(",", " ").split()), hosts_min))
    rows = [(f"{YES} {path}", what) for path, what in made]
    left = "" if state.policy_file.exists() else "tradeops init --person NAME=KEYFILE:operator --person NAME=KEYFILE:risk"
    return Report(
        "init",
        f"{len(made)} made" if made else "everything was there",
        tables=(table(("made", "what for"), rows),),
        next=left or f"edit {c.options.fleet}, then `tradeops doctor`",
        data={"made": [str(path) for path, _ in made]},
    )


def _person(text: str) -> Named:
    match = _PERSON.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no person", next="write NAME=KEYFILE:ROLE,ROLE, as ann=~/.ssh/id_ed25519:operator")
    return Named(match["name"], Path(match["key"]).expanduser().absolute(), tuple(match["roles"].split(",")))


def _files(fleet: Path, name: str | None) -> list[tuple[Path, str]]:
    from tradeops.base.shipped import shipped

    example = files("tradeops.fleet").joinpath("example.yml").read_text(encoding="utf-8")
    if name:
        example = example.replace("fleet: equities-staging", f"fleet: {name}", 1)
    folder = fleet.parent
    made = [(fleet, "the hosts: every key explained")] if _write(fleet, example) else []
    if _write(folder / "service" / "service.yml", _SERVICE):
        made.append((folder / "service" / "service.yml", "what a release is"))
    config = folder / "service" / "config" / "trader.yml"
    if _write(config, files("tradeops.trader").joinpath("example.yml").read_text(encoding="utf-8")):
        made.append((config, "how the trader trades"))
    for playbook in sorted(shipped("playbooks").glob("*.yml")):
        target = folder / "playbooks" / playbook.name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(playbook, target)
            made.append((target, "how a release goes out"))
    return made


def _write(path: Path, text: str) -> bool:
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return True


def _tls(c: Context) -> list[tuple[Path, str]]:
    from tradeops.fleet.tls import TlsFiles, create_ca, issue_client, renewal_due

    tls, now_ns = TlsFiles(c.fleet.state.tls), c.clock.wall_ns()
    made = []
    if not tls.ca.exists():
        create_ca(tls, c.fleet.name, now_ns=now_ns)
        made.append((tls.ca, "the fleet's own CA"))
    if renewal_due(tls.client, now_ns=now_ns):
        issue_client(tls, "operator", now_ns=now_ns)
        made.append((tls.client, "reads from guards"))
    return made


def _policy(c: Context, people: list[Named], terms: Terms) -> list[tuple[Path, str]]:
    from tradeops.cli.people import read_key_paths, write_key_paths
    from tradeops.contracts.policy import Person
    from tradeops.release.policy import ROLES, first_policy, sign_policy
    from tradeops.release.sign import signer_for

    state = c.fleet.state
    if not people:
        return []
    if state.policy_file.exists():
        raise UsageError(
            "the fleet has a policy already", where=str(state.policy_file), holds="it stays as it is", next="leave --person out"
        )
    signers = {person.name: signer_for(str(person.key)) for person in people}
    named = [Person(each.name, (signers[each.name].public_line,), each.roles) for each in people]
    thresholds = {"approve": terms.approvals} if terms.approvals else {}
    policy = first_policy(c.fleet.name, named, thresholds, hosts_min=terms.hosts_min, apart=terms.apart)
    first: Signer | None = next((signers[each.name] for each in people if any("policy" in ROLES[role] for role in each.roles)), None)
    if first is None:
        raise UsageError("nobody named may change the policy", next="give one --person the role operator")
    sign_policy(policy, [first], None, state.policy_file)
    write_key_paths(state.keys, read_key_paths(state.keys) | {each.name: str(each.key) for each in people})
    return [(state.policy_file, f"policy 1: {', '.join(each.name for each in people)}")]
