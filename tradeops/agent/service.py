"""Starts and stops the service of a host, and shows that no process of it is left. Two managers, one shape."""

from __future__ import annotations

from typing import Any

from . import processes
from .clock import Deadline
from .errors import SERVICE, AgentError
from .hostfile import Context
from .names import linked_digest
from .processes import Process
from .units import DOWN, Manager, UnitState
from .vitals import read_beat

_START_LIMIT_S = 10.0
_KILL_LIMIT_S = 5.0
_POLL_S = 0.02


def manager(context: Context) -> Manager:
    """The service manager of this host, its module imported only here: XML-RPC costs a kill 50 ms. Raises AgentError (service)."""
    kind = context.host.service_manager
    if kind == "systemd":
        from .systemd import Systemd

        return Systemd()
    if kind == "supervisord" and context.host.supervisor_socket:
        from .supervisord import Supervisord

        return Supervisord(context.host.supervisor_socket)
    raise AgentError(SERVICE, f"host.json names the service manager {kind!r}", next="enrol the host again")


def unit_of(context: Context, slot: str) -> str:
    """The unit that runs a slot. Raises AgentError (service)."""
    unit = context.host.units.get(slot)
    if not unit:
        raise AgentError(SERVICE, f"this host has no unit for slot {slot!r}", next="enrol the host again")
    return unit


def start(context: Context, slot: str) -> dict[str, Any]:
    """Start the slot's unit; its pid once the manager shows one. That it is the right one is for `prove` to say."""
    unit = unit_of(context, slot)
    units = manager(context)
    units.start(unit)
    deadline = context.clock.deadline(_START_LIMIT_S)
    while True:
        state = units.states(unit)[unit]
        if state.pid and state.state not in DOWN:
            return {"pid": state.pid}
        if state.state in DOWN or deadline.passed():
            raise AgentError(
                SERVICE,
                f"{unit} is {state.state} right after its start",
                next="read its log on the host",
                detail={"unit_state": state.state},
            )
        context.clock.sleep_s(_POLL_S)


def stop(context: Context, slot: str, timeout_s: float) -> dict[str, Any]:
    """Stop the slot's unit, by SIGKILL after `timeout_s`; stopped only when no process of the service is left."""
    unit = unit_of(context, slot)
    units = manager(context)
    if units.states(unit)[unit].state not in DOWN:
        units.stop(unit)
        if not _ends(context, units, unit, context.clock.deadline(timeout_s)):
            units.kill(unit)
            _ends(context, units, unit, context.clock.deadline(_KILL_LIMIT_S))
    return report(context, slot)


def kill_all(context: Context) -> dict[str, Any]:
    """SIGKILL to every slot's unit and to every other process of the service: the last road of a kill (K02)."""
    units = manager(context)
    problem = ""
    for unit in context.host.units.values():
        try:
            units.kill(unit)
        except AgentError as error:
            problem = problem or error.what
    deadline = context.clock.deadline(_KILL_LIMIT_S)
    while (left := processes.of_service(context)) and not deadline.passed():
        for process in left:
            processes.kill(process)
        context.clock.sleep_s(_POLL_S)
    return {"stopped": not left, "survivors": [process.public() for process in left], "unit_state": problem or "killed"}


def report(context: Context, slot: str) -> dict[str, Any]:
    """contracts.agent.Stopped as it is now."""
    state, _, others = look(context, slot)
    main = processes.read(state.pid, context.clock) if state.pid else None
    survivors = [*([main] if main else []), *others]
    return {
        "stopped": state.state in DOWN and not survivors,
        "survivors": [process.public() for process in survivors],
        "unit_state": state.state,
    }


def look(context: Context, slot: str) -> tuple[UnitState, Process | None, list[Process]]:
    """The slot's unit, its main process, and every process of the service that neither slot's main process started."""
    unit = unit_of(context, slot)
    states = manager(context).states(*context.host.units.values())
    everyone = processes.of_service(context)
    known: set[int] = set()
    for each in states.values():
        if each.pid:
            known |= processes.descendants(each.pid, everyone)
    state = states[unit]
    main_process = processes.read(state.pid, context.clock) if state.pid else None
    return state, main_process, [process for process in everyone if process.pid not in known]


def running(context: Context) -> list[dict[str, Any]]:
    """contracts.agent.Running of every slot: the release is that of the process, `linked` that of the link."""
    states = manager(context).states(*context.host.units.values())
    rows = []
    for slot, unit in sorted(context.host.units.items()):
        state = states[unit]
        main = processes.read(state.pid, context.clock) if state.pid else None
        linked = linked_digest(context.layout.slot(slot) / "current")
        rows.append({"slot": slot, "release": release_of(context, main), "pid": state.pid, "unit_state": state.state, "linked": linked})
    return rows


def release_of(context: Context, process: Process | None) -> str | None:
    """The release whose tree the process works in."""
    prefix = f"{context.layout.releases}/"
    if process is None or not process.working_folder.startswith(prefix):
        return None
    return f"sha256:{process.working_folder[len(prefix) :].split('/', 1)[0]}"


def restart_guard(context: Context, limit_s: float) -> None:
    """Restart the guard and see it beat. Raises AgentError (service)."""
    unit = context.host.guard_unit
    manager(context).restart(unit)
    if not guard_beats(context, context.clock.monotonic_ns(), limit_s):  # from now on: the old one beat until it ended
        raise AgentError(SERVICE, f"{unit} did not come up", next="look at its log on the host")


def guard_beats(context: Context, since_ns: int, limit_s: float) -> bool:
    """Whether the guard has beaten on the stop page after `since_ns`: an active unit alone may be dying again and again."""
    deadline, unit = context.clock.deadline(limit_s), context.host.guard_unit
    while (read_beat(context.layout.stop_page) or 0) <= since_ns:
        if deadline.passed() or manager(context).states(unit)[unit].state in DOWN:
            return False
        context.clock.sleep_s(_POLL_S)
    return True


def _ends(context: Context, units: Manager, unit: str, deadline: Deadline) -> bool:
    """Whether the unit is down in time. Its main process is waited for: managers are slow to ask."""
    while (state := units.states(unit)[unit]).state not in DOWN:
        if deadline.passed():
            return False
        if not state.pid or processes.ends(state.pid, deadline.left_s()):
            context.clock.sleep_s(_POLL_S)
    return True
