"""Injects and heals faults of a lab, by the names of kinds.py; what stands is kept in lab.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from tradeops.base.clock import Clock
from tradeops.base.errors import UsageError
from tradeops.lab.driver import Driver
from tradeops.lab.hands import Hands
from tradeops.lab.kinds import checked
from tradeops.lab.state import Fault, LabState, StateFile


def driver_of(folder: Path, clock: Clock, name: str | None = None) -> Driver:
    """The driver of the lab in `folder`, or the one called `name` for a lab to be. Raises LabError, UsageError."""
    name = name or StateFile(folder).read().driver
    if name == "local":
        from tradeops.lab.local.driver import LocalDriver

        return LocalDriver(folder, clock)
    if name == "nspawn":
        from tradeops.lab.nspawn.driver import NspawnDriver

        return NspawnDriver(folder, clock)
    raise UsageError(f"there is no driver {name!r}", next="one of: local, nspawn")


def hands_of(folder: Path, clock: Clock) -> Hands:
    """The hands on the hosts of the lab in `folder`. Raises LabError."""
    if StateFile(folder).read().driver == "local":
        from tradeops.lab.local.faults import LocalHands

        return LocalHands()
    from tradeops.lab.nspawn.hands import NspawnHands

    return NspawnHands(clock)


def inject(folder: Path, host: str, name: str, settings: Mapping[str, str], clock: Clock) -> Fault:
    """Bring a fault about on one host; it is in force when this returns.

    Raises UsageError (name, setting, already in force), LabUnsupported (not with this driver), LabError (it failed).
    """
    kind, whole = checked(name, dict(settings))
    file = StateFile(folder)
    state = file.read()
    if _standing(state, host, name):
        raise UsageError(f"{name} is in force already", where=host, next="heal it first")
    fault = driver_of(folder, clock).inject(state.host(host), name, whole)
    if kind.lasting:
        file.update(lambda now: msgspec.structs.replace(now, faults=(*now.faults, fault)))
    return fault


def heal(folder: Path, host: str, name: str | None, clock: Clock) -> tuple[Fault, ...]:
    """Undo one fault of a host, or all of them, last one first. The faults healed. Raises UsageError, LabError."""
    file = StateFile(folder)
    state = file.read()
    state.host(host)
    standing = [fault for fault in state.faults if fault.host == host and name in (None, fault.kind)]
    if name is not None and not standing:
        raise UsageError(f"{name} is not in force", where=host)
    driver = driver_of(folder, clock)
    for fault in reversed(standing):
        driver.heal(file.read().host(host), fault)
        file.update(lambda now, healed=fault: _without(now, healed))  # type: ignore[misc]  # the default binds this fault
    return tuple(reversed(standing))


def _standing(state: LabState, host: str, kind: str) -> bool:
    return any(fault.host == host and fault.kind == kind for fault in state.faults)


def _without(state: LabState, healed: Fault) -> LabState:
    return msgspec.structs.replace(state, faults=tuple(fault for fault in state.faults if fault != healed))
