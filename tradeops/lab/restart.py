"""Restarts the daemons of a lab's hosts, as a clumsy hand would, and waits until each speaks again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.contracts.status import Status
from tradeops.fleet.control import HttpControls
from tradeops.fleet.host import Host
from tradeops.fleet.inventory import load_fleet
from tradeops.fleet.outcome import Done, Outcome
from tradeops.lab.driver import Progress
from tradeops.lab.errors import LabError
from tradeops.lab.faults import hands_of
from tradeops.lab.hands import Hands, host_file
from tradeops.lab.state import LabHost, StateFile

_SETTLE_S = 30.0
_ANSWER_S = 2.0
_POLL_S = 0.1
_FRESH_MS = 1000.0


def restart(folder: Path, clock: Clock, progress: Progress, *, host: str | None = None) -> tuple[str, ...]:
    """Restart every daemon that runs on one host, or on all: guards first. The units restarted, as `host:unit`.

    Raises LabError naming the hosts whose daemons do not speak within half a minute.
    """
    state = StateFile(folder).read()
    hands = hands_of(folder, clock)
    hosts = (state.host(host),) if host else state.hosts
    with ThreadPoolExecutor(max_workers=len(hosts)) as pool:
        units = dict(zip((each.name for each in hosts), pool.map(lambda each: _again(hands, each, progress), hosts), strict=True))
    traders = {each.name: _trader_pids(hands, each) for each in hosts if len(units[each.name]) > 1}
    fleet = load_fleet(folder / "fleet.yml")
    _settle([each for each in fleet.hosts if each.name in units], traders, HttpControls(fleet.state.tls, clock), clock)
    return tuple(f"{name}:{unit}" for name, found in units.items() for unit in found)


def _again(hands: Hands, host: LabHost, progress: Progress) -> list[str]:
    who = host_file(hands, host)
    running = [unit for unit in (who.guard_unit, *who.units.values()) if hands.unit_pid(host, unit) is not None]
    for unit in running:
        hands.restart_unit(host, unit)
    progress(f"{host.name} is restarted")
    return running


def _trader_pids(hands: Hands, host: LabHost) -> set[int]:
    return {pid for unit in host_file(hands, host).units.values() if (pid := hands.unit_pid(host, unit)) is not None}


def _settle(hosts: Sequence[Host], traders: Mapping[str, set[int]], controls: HttpControls, clock: Clock) -> None:
    """Until every guard answers, and hears the trader of each host that has one."""
    until_ns = clock.monotonic_ns() + int(_SETTLE_S * NS_PER_S)
    while silent := _silent(controls.statuses(hosts, deadline_s=_ANSWER_S), traders):
        if clock.monotonic_ns() > until_ns:
            raise LabError("; ".join(f"{name}: {why}" for name, why in silent.items()), holds="the daemons were restarted")
        clock.sleep_s(_POLL_S)


def _silent(outcomes: Mapping[str, Outcome[Status]], traders: Mapping[str, set[int]]) -> dict[str, str]:
    """Host -> what is not heard of it yet."""
    silent = {name: outcome.error.what for name, outcome in outcomes.items() if not isinstance(outcome, Done)}
    for name, outcome in outcomes.items():
        if isinstance(outcome, Done) and name in traders and (why := _unheard(outcome.value, traders[name])):
            silent[name] = why
    return silent


def _unheard(status: Status, pids: set[int]) -> str:
    """Why the host is not what it was: its guard does not hear its trader, or its venues. Empty when it does."""
    if status.vitals is None or status.vitals_age_ms is None or status.vitals_age_ms > _FRESH_MS:
        return "its trader does not beat"
    if status.vitals.identity.pid not in pids:
        return "its trader does not beat since the restart"
    return "; ".join(status.problems)
