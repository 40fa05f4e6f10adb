"""Enrols every host of a lab with the production enrolment: platform built, signed, installed over SSH."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tradeops.base.clock import Clock
from tradeops.base.errors import TradeopsError
from tradeops.base.shipped import shipped
from tradeops.contracts.codec import parse
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.signature import Signer
from tradeops.fleet.enroll import Enrolled, Enrolment, enroll, host_file
from tradeops.fleet.host import Host
from tradeops.fleet.inventory import Fleet
from tradeops.fleet.platform import Platform, build_platform, source_key
from tradeops.fleet.ssh import Ssh
from tradeops.fleet.tls import TlsFiles
from tradeops.lab.driver import Progress
from tradeops.lab.errors import LabError
from tradeops.release.daemon import Ingredients, platform_tree
from tradeops.release.layers import this_python

_SIDE_BY_SIDE = 2 * (os.cpu_count() or 2)
"""All hosts share this machine's cores."""


def platform_of(folder: Path, signer: Signer) -> Platform:
    """The platform of the code that runs, built below `folder` when it is not there. Raises TradeopsError, OSError."""
    ingredients, python = Ingredients(shipped("requirements-host.lock")), this_python()
    key = source_key(ingredients.lock, python)

    def fill(into: Path) -> None:
        platform_tree(into, ingredients)

    return build_platform(fill, signer, key=key, python=python, folder=folder)


def enrol_all(fleet: Fleet, signer: Signer, keys: Iterable[str], clock: Clock, progress: Progress) -> dict[str, Enrolled]:
    """Host -> what its enrolment did. keys: public lines that may reach the agents. Raises LabError naming those that failed."""
    progress("building the platform")
    platform = platform_of(fleet.state.platforms, signer)
    policy, roster = _envelope(fleet.state.policy_file), _envelope(fleet.state.roster_file)
    enrolment = Enrolment(fleet.name, platform, policy, roster, tuple(keys))
    enrolment.archive()  # once, before many threads ask for it
    progress(f"enrolling {len(fleet.hosts)} hosts")
    ssh = Ssh(deadlines=fleet.deadlines, clock=clock)
    try:
        with ThreadPoolExecutor(max_workers=min(_SIDE_BY_SIDE, len(fleet.hosts))) as pool:
            outcomes = dict(zip(fleet.hosts, pool.map(lambda host: _enrol(ssh, fleet, host, enrolment), fleet.hosts), strict=True))
    finally:
        ssh.close()
    failed = {host.name: outcome for host, outcome in outcomes.items() if isinstance(outcome, TradeopsError)}
    if failed:
        words = "; ".join(f"{name}: {error.what}" for name, error in failed.items())
        raise LabError(f"{len(failed)} hosts are not enrolled: {words}", holds="the hosts are up", next="`tradeops lab down` removes them")
    return {host.name: outcome for host, outcome in outcomes.items() if isinstance(outcome, Enrolled)}


def _enrol(ssh: Ssh, fleet: Fleet, host: Host, enrolment: Enrolment) -> Enrolled | TradeopsError:
    files = TlsFiles(fleet.state.tls)
    paths = {"ca.pem": files.ca, "guard.pem": files.guard(host.name), "guard.key": files.guard_key(host.name)}
    me = host_file(host, fleet.name, fleet.service, supervisor_socket=host.fields.get("supervisor_socket"))
    try:
        return enroll(ssh, host, me, enrolment, {name: path.read_text() for name, path in paths.items()})
    except TradeopsError as error:
        return error


def _envelope(path: Path) -> Envelope:
    return parse(path.read_bytes(), Envelope)
