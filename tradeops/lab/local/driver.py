"""Brings local hosts up and takes them down: processes by pid and start time, what is left of a host by its mark."""

from __future__ import annotations

import ipaddress
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.contracts.codec import parse
from tradeops.contracts.layout import HostLayout
from tradeops.lab import processes
from tradeops.lab.driver import Progress, Settings, Wish, host_name
from tradeops.lab.errors import LabError, LabUnsupported
from tradeops.lab.keys import make_key
from tradeops.lab.local import config
from tradeops.lab.local.config import HOST_MARK, LocalHost
from tradeops.lab.local.faults import CONFIG_NAME, LocalFaults
from tradeops.lab.local.manager import Manager
from tradeops.lab.state import SCHEMA, Fault, LabHost, LabState, StateFile, new_id
from tradeops.lab.waiting import wait_for_ssh

DEFAULT_RANGE = "127.64.0.0/10"
ADMIN = "admin"
OPERATOR = "tradeops"
SERVICE = "trader"
SSH_PORT = 2222
CONTROL_PORT = 8443
CONTROL_ADDRESS = "control_address"
HOSTS_MAX = 64
VENUE_INDEX = 254
_INNER = 100
_SSHD_S = 15.0
_BOOT_S = 60.0
_GRACE_S = 3.0
_POLL_S = 0.01
_TRIES = 32
_UNIX_PATH_MAX = 100


class LocalDriver:
    """Hosts on loopback addresses of their own, all of one user."""

    name = "local"

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._state = StateFile(folder)
        self._clock = clock

    def up(self, wish: Wish, progress: Progress) -> LabState:
        """See Driver."""
        if not 1 <= wish.hosts <= HOSTS_MAX:
            raise LabUnsupported(f"{wish.hosts} hosts: the local driver makes 1 to {HOSTS_MAX}")
        state = _plan(wish, _choose(wish.network or DEFAULT_RANGE, wish.hosts))
        self._state.create(state)
        try:
            keyed = [msgspec.structs.replace(host, host_key=_prepare(state.id, host, wish)) for host in state.hosts]
            progress(f"starting {len(keyed)} hosts on {state.network}")
            self._start(keyed)
        except (LabError, OSError):
            self.down(progress)
            raise
        return self._state.read()

    def down(self, progress: Progress) -> None:
        """See Driver."""
        state = self._state.read()
        self._end(state.hosts)
        self._sweep([state.mark])
        for host in state.hosts:
            shutil.rmtree(run_folder(state.id, host.name), ignore_errors=True)
        with ThreadPoolExecutor(max_workers=len(state.hosts)) as pool:  # a disk that discards what is freed keeps each of them waiting
            list(pool.map(_remove, (Path(host.folder) for host in state.hosts)))
        shutil.rmtree(run_folder(state.id, ""), ignore_errors=True)
        progress(f"{len(state.hosts)} hosts are gone")
        self._state.remove()

    def boot(self, host: LabHost) -> LabHost:
        """See Driver."""
        self._start([host])
        return self._state.read().host(host.name)

    def power_cut(self, host: LabHost) -> None:
        """See Driver."""
        self._end([host])

    def inject(self, host: LabHost, kind: str, settings: Settings) -> Fault:
        """See Driver."""
        return LocalFaults(self, self._clock).inject(host, kind, settings)

    def heal(self, host: LabHost, fault: Fault) -> None:
        """See Driver."""
        LocalFaults(self, self._clock).heal(host, fault)

    def _start(self, hosts: Sequence[LabHost]) -> None:
        """Boot them with one process that forks them all, and wait until each answers."""
        argv = [sys.executable, "-m", "tradeops.lab.local.hostd", *(str(config_path(host)) for host in hosts)]
        try:
            done = subprocess.run(argv, capture_output=True, timeout=_BOOT_S, check=False, env=self._state.read().environment())
        except subprocess.TimeoutExpired:
            raise LabError(f"the hosts do not start within {_BOOT_S:g} s") from None
        if done.returncode:
            raise LabError(f"the hosts do not start: {done.stderr.decode(errors='replace')[-400:].strip()}", next='install the extra "lab"')
        booted = parse(done.stdout, dict[str, dict[str, processes.Proc]])
        started = [msgspec.structs.replace(host, init=booted[host.name]["sshd"], manager=booted[host.name]["manager"]) for host in hosts]

        def record(state: LabState) -> LabState:
            for host in started:
                state = state.with_host(host)
            return state

        self._state.update(record)
        for host in started:
            wait_for_ssh(host.name, host.address, host.port, self._clock, within_s=_SSHD_S)
            self._wait_for_manager(host)

    def _wait_for_manager(self, host: LabHost) -> None:
        manager = Manager(host.name, config.load(config_path(host)).supervisor_socket)
        deadline = self._clock.monotonic_ns() + int(_SSHD_S * NS_PER_S)
        while not manager.answers():
            if self._clock.monotonic_ns() > deadline:
                raise LabError("its supervisord does not answer", where=host.name, next=f"see {host.folder}/logs/manager.log")
            self._clock.sleep_s(_POLL_S)

    def _end(self, hosts: Sequence[LabHost]) -> None:
        """The two daemons of each, so that nobody starts anything again, then whatever carries the host's mark."""
        daemons = [proc for host in hosts for proc in (host.manager, host.init) if proc]
        for proc in daemons:
            processes.send(proc, signal.SIGKILL)
        self._sweep([mark for host in hosts for mark in _marks(host)])
        processes.wait_gone(daemons, self._clock, within_s=_GRACE_S)

    def _sweep(self, marks: Sequence[str]) -> None:
        """SIGKILL to all that carry one of the marks, until none is left. Raises LabError when one does not end."""
        deadline = self._clock.monotonic_ns() + int(_BOOT_S * NS_PER_S)
        while left := processes.marked(marks):
            if self._clock.monotonic_ns() > deadline:
                raise LabError(f"processes {[proc.pid for proc in left]} do not end", next="end them, then `lab down` again")
            for proc in left:
                processes.send(proc, signal.SIGKILL)
            self._clock.sleep_s(_POLL_S)


def config_path(host: LabHost) -> Path:
    """The file that tells the host about itself."""
    return Path(host.folder) / CONFIG_NAME


def run_folder(lab: str, name: str) -> Path:
    """For sockets, whose paths must be short. Raises LabUnsupported when they cannot be."""
    folder = Path(tempfile.gettempdir()) / f"tradeops-lab-{lab}" / name
    if len(str(folder)) > _UNIX_PATH_MAX - len("/supervisor.sock"):
        raise LabUnsupported(f"{tempfile.gettempdir()} is too long a path for sockets", next="set TMPDIR to a shorter one")
    return folder


def _plan(wish: Wish, chosen: str) -> LabState:
    """All names and addresses, before anything is made."""
    lab = new_id()
    folder = wish.folder.absolute()

    def host(index: int) -> LabHost:
        name = host_name(index)
        own = folder / "hosts" / name
        return LabHost(
            name=name,
            address=str(ipaddress.ip_network(chosen)[index]),
            port=SSH_PORT,
            control_port=CONTROL_PORT,
            host_key="",
            root=str(own / "root"),
            folder=str(own),
            admin_user=ADMIN,
            interpreter=sys.executable,
            service_manager="supervisord",
            fields={
                CONTROL_ADDRESS: str(ipaddress.ip_network(chosen)[_INNER + index]),
                "supervisor_socket": str(run_folder(lab, name) / "supervisor.sock"),
            },
        )

    hosts = tuple(host(index) for index in range(1, wish.hosts + 1))
    venue = str(ipaddress.ip_network(chosen)[VENUE_INDEX])
    return LabState(SCHEMA, lab, LocalDriver.name, str(folder), chosen, "", venue, hosts)


def _choose(private_range: str, hosts: int) -> str:
    """A /24 of loopback addresses on which nobody listens at our port. Raises LabError."""
    try:
        whole = ipaddress.ip_network(private_range)
    except ValueError as error:
        raise LabError(f"not a network: {error}", next=f"write one as {DEFAULT_RANGE}") from None
    if whole.version != 4 or not whole.is_loopback or whole.prefixlen > 24:
        raise LabError(f"{private_range} is not a loopback range of at least a /24", next=f"write one as {DEFAULT_RANGE}")
    for _ in range(_TRIES):
        base = int(whole.network_address) + (secrets.randbelow(1 << (24 - whole.prefixlen)) << 8)
        chosen = ipaddress.ip_network((base, 24))
        if all(_free(str(chosen[index]), SSH_PORT) for index in (*range(1, hosts + 1), VENUE_INDEX)):
            return str(chosen)
    raise LabError(f"no free loopback addresses were found in {private_range}", next="take a lab down, or name another range")


def _free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def _prepare(lab: str, host: LabHost, wish: Wish) -> str:
    """Folders, keys and configuration of one host. The public host key line. Raises OSError."""
    own = Path(host.folder)
    (own / "ssh").mkdir(parents=True)
    Path(host.root).mkdir()
    run = run_folder(lab, host.name)
    run.parent.mkdir(mode=0o700, exist_ok=True)
    run.mkdir(mode=0o700)
    shells, forced = own / "ssh" / "admin_keys", own / "ssh" / "operator_keys"
    shells.write_text(wish.admin_key + "\n")
    forced.write_text("".join(f"{key}\n" for key in wish.operator_keys))
    root = Path(host.root)
    local = LocalHost(
        schema=config.SCHEMA,
        lab=lab,
        name=host.name,
        address=host.address,
        port=host.port,
        control_port=host.control_port,
        control_address=host.fields[CONTROL_ADDRESS],
        folder=host.folder,
        root=host.root,
        run=str(run),
        admin_user=ADMIN,
        user=OPERATOR,
        shells=str(shells),
        forced=str(forced),
        forced_argv=(host.interpreter, "-I", "-B", str(HostLayout(root).agent_launcher)),
        interpreter=host.interpreter,
        service=SERVICE,
        host_key=str(own / "ssh" / "host_key"),
    )
    config_path(host).write_bytes(msgspec.json.encode(local))
    return make_key(own / "ssh" / "host_key")


def _marks(host: LabHost) -> list[str]:
    """What the processes of a host carry: the lab's own mark, and the root that the start stub names."""
    lab = config.load(config_path(host)) if config_path(host).exists() else None
    return [f"TRADEOPS_ROOT={host.root}", *([f"{HOST_MARK}={lab.mark}"] if lab else [])]


def _remove(folder: Path) -> None:
    """With the releases in it, whose folders are read-only. Raises OSError."""
    for inner, _names, _files in os.walk(folder):
        Path(inner).chmod(0o700)
    if folder.exists():
        shutil.rmtree(folder)
