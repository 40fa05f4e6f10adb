"""lab.json: every process, mount, name and address a lab owns, written before it is made, so that nothing is left behind."""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tradeops.base.durable import read_bounded, write_atomic
from tradeops.contracts.codec import parse
from tradeops.lab.errors import LabError, LabMisused
from tradeops.lab.processes import Proc

SCHEMA = "tradeops/lab/v1"
LAB_MARK = "TRADEOPS_LAB"
"""Environment variable of a lab's own daemons: its id."""
_BYTES_MAX = 4 << 20


class LabHost(msgspec.Struct, frozen=True):
    """One host of a lab. host_key: OpenSSH public key line.  root: of tradeops, as the host itself sees it.

    folder: the host's own on this machine.  init: the process that keeps the host up (nspawn: the keeper; local: its
    sshd).  manager: its supervisord (local).  fields: for the fleet file.  netns, veth, mac, cgroups, mounts: what was
    made for it (nspawn).
    """

    name: str
    address: str
    port: int
    control_port: int
    host_key: str
    root: str
    folder: str
    admin_user: str
    interpreter: str
    service_manager: str
    init: Proc | None = None
    manager: Proc | None = None
    fields: dict[str, str] = {}
    mac: str = ""
    netns: str = ""
    veth: str = ""
    cgroups: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()


class Fault(msgspec.Struct, frozen=True):
    """A fault that is in force. detail: what healing needs to know."""

    host: str
    kind: str
    detail: dict[str, str] = {}
    procs: tuple[Proc, ...] = ()


class LabState(msgspec.Struct, frozen=True):
    """The whole lab. id: six hex digits, part of every name the lab makes.  venue_address: where the hosts
    find the venue.  daemons: by name, as the venue.
    """

    schema: str
    id: str
    driver: str
    folder: str
    network: str
    bridge: str
    venue_address: str
    hosts: tuple[LabHost, ...] = ()
    daemons: dict[str, Proc] = {}
    faults: tuple[Fault, ...] = ()

    def host(self, name: str) -> LabHost:
        """Raises LabError when there is none of that name."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise LabMisused(f"the lab has no host {name!r}", where=self.folder, next=f"its hosts: {', '.join(h.name for h in self.hosts)}")

    @property
    def mark(self) -> str:
        """What the environment of the lab's own daemons holds."""
        return f"{LAB_MARK}={self.id}"

    def environment(self) -> dict[str, str]:
        """For the lab's own daemons: ours with the mark, without what concerns the operator alone (keys, fleet)."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("TRADEOPS_")}
        return ours | {LAB_MARK: self.id}

    def with_host(self, changed: LabHost) -> LabState:
        """The same with one host replaced."""
        return msgspec.structs.replace(self, hosts=tuple(changed if host.name == changed.name else host for host in self.hosts))


def new_id() -> str:
    """Six hex digits that no other lab on this machine is likely to have."""
    return secrets.token_hex(3)


class StateFile:
    """`lab.json` in the lab's folder; changes are serialised over threads and processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._path = self.folder / "lab.json"
        self._thread_lock = threading.Lock()

    def exists(self) -> bool:
        """Whether a lab is, or was left, here."""
        return self._path.exists()

    def read(self) -> LabState:
        """Raises LabError when there is no lab here, or the file is broken."""
        try:
            return parse(read_bounded(self._path, _BYTES_MAX), LabState)
        except FileNotFoundError:
            raise LabMisused("there is no lab here", where=str(self.folder), next="`tradeops lab up` makes one") from None
        except (msgspec.DecodeError, OSError) as error:
            raise LabError(f"the lab's state cannot be read: {error}", where=str(self._path)) from None

    def create(self, state: LabState) -> None:
        """Write the first state. Raises LabError when there is a lab already."""
        with self._locked():
            if self._path.exists():
                raise LabMisused(
                    "there is a lab here already", where=str(self.folder), next=f"`tradeops lab down {self.folder}` takes it down"
                )
            self._write(state)

    def update(self, change: Callable[[LabState], LabState]) -> LabState:
        """Replace the state by `change(state)`; durable when this returns. Raises LabError, OSError."""
        with self._locked():
            state = change(self.read())
            self._write(state)
            return state

    def remove(self) -> None:
        """The lab is gone: forget it."""
        self._path.unlink(missing_ok=True)
        self._lock_path.unlink(missing_ok=True)

    @property
    def _lock_path(self) -> Path:
        return self.folder / ".lab.lock"

    def _write(self, state: LabState) -> None:
        write_atomic(self._path, msgspec.json.format(msgspec.json.encode(state), indent=1))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._thread_lock, self._lock_path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
