"""One nspawn host: a disk of its own over the shared image, its identity, boot and end."""

from __future__ import annotations

import errno
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import uuid4

import msgspec

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.lab import processes
from tradeops.lab.errors import LabError, LabMisused
from tradeops.lab.keys import make_key
from tradeops.lab.nspawn import cgroups
from tradeops.lab.nspawn.image import mounts_below
from tradeops.lab.state import LabHost
from tradeops.lab.tools import run

DISK_BYTES = 2 << 30
_POLL_S = 0.01
_LEADER_S = 10.0
_GONE_S = 5.0

# Joins the host's own cgroups, then runs nspawn for as long as it asks for a reboot (133). All values come as arguments.
_KEEPER = """
groups=$1; shift
for group in $groups; do echo $$ >"$group/cgroup.procs" || exit 1; done
while :; do "$@"; [ $? -eq 133 ] || exit; done
"""


def disk_image(host: LabHost) -> Path:
    """The file that holds the host's disk."""
    return Path(host.folder) / "disk.img"


def disk(host: LabHost) -> Path:
    """Where the host's disk is mounted on this machine."""
    return Path(host.folder) / "disk"


def tree(host: LabHost) -> Path:
    """The host's whole file tree as this machine sees it."""
    return Path(host.folder) / "tree"


def inside(host: LabHost, path: str | Path) -> Path:
    """Where this machine finds what the host calls `path`, links followed as the host would. Raises LabError on a loop."""
    top, found = tree(host), Path("/")
    left = [part for part in Path(path).parts if part != "/"]
    for _ in range(256):
        if not left:
            return top / found.relative_to("/")
        part = left.pop(0)
        found = found.parent if part == ".." else found / part
        here = top / found.relative_to("/")
        if here.is_symlink():
            target = here.readlink()
            found = Path("/") if target.is_absolute() else found.parent
            left = [piece for piece in target.parts if piece != "/"] + left
    raise LabError(f"{path} has too many links", where=host.name)


def make_disk(host: LabHost, image: Path, environment: Mapping[str, str]) -> None:
    """A disk of its own, laid over the image. Raises LabError, OSError."""
    folder = Path(host.folder)
    for path in (folder, disk(host), tree(host)):
        path.mkdir(parents=True, exist_ok=True)
    with disk_image(host).open("wb") as file:
        file.truncate(DISK_BYTES)
    fast = "lazy_itable_init=1,lazy_journal_init=1,nodiscard"
    run(["mkfs.ext4", "-q", "-m", "0", "-E", fast, str(disk_image(host))], where=host.name, environment=environment)
    _mount(host, image, environment)


def _mount(host: LabHost, image: Path, environment: Mapping[str, str]) -> None:
    run(["mount", "-o", "loop", str(disk_image(host)), str(disk(host))], where=host.name, environment=environment)
    upper, work = disk(host) / "upper", disk(host) / "work"
    upper.mkdir(exist_ok=True)
    work.mkdir(exist_ok=True)
    options = f"lowerdir={_option(image)},upperdir={_option(upper)},workdir={_option(work)}"
    run(["mount", "-t", "overlay", "overlay", "-o", options, str(tree(host))], where=host.name, environment=environment)


def _option(path: Path) -> str:
    """A path as an overlay option: its separators escaped."""
    return str(path).replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def remove_disk(host: LabHost, clock: Clock) -> None:
    """Unmount whatever of the host is mounted still, and remove its folder. Raises LabError, OSError.

    A mount that a killed operator began may come to its end while we are here: then once more.
    """
    folder, deadline = Path(host.folder), clock.monotonic_ns() + int(_GONE_S * NS_PER_S)
    while folder.exists():
        for point in reversed(mounts_below(folder)):
            run(["umount", point], where=host.name)
        _detach(host)
        try:
            shutil.rmtree(folder)
        except OSError as error:
            if error.errno != errno.EBUSY or clock.monotonic_ns() > deadline:
                raise
            clock.sleep_s(_POLL_S)


def _detach(host: LabHost) -> None:
    """A loop device that was made and never mounted; those that were go with their mount, and one may still be on its way."""
    for device in _loops(host):
        try:
            run(["losetup", "-d", device], where=host.name)
        except LabError:
            if device in _loops(host):
                raise


def _loops(host: LabHost) -> list[str]:
    image = disk_image(host)
    return run(["losetup", "-j", str(image), "--noheadings", "-O", "NAME"], where=host.name).split() if image.exists() else []


def give_identity(host: LabHost, hosts: Sequence[LabHost], admin_key: str) -> str:
    """Hostname, machine id, SSH host key, the admin's key, names of its neighbours. The public host key line."""
    etc = tree(host) / "etc"
    (etc / "hostname").write_text(host.name + "\n")
    (etc / "machine-id").write_text(uuid4().hex + "\n")
    names = "".join(f"{other.address} {other.name}\n" for other in hosts)
    (etc / "hosts").write_text(f"127.0.0.1 localhost\n{names}")
    ssh = tree(host) / "root" / ".ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    (ssh / "authorized_keys").write_text(admin_key + "\n")
    return make_key(etc / "ssh" / "ssh_host_ed25519_key")


def boot(host: LabHost, clock: Clock, environment: Mapping[str, str]) -> LabHost:
    """Start its systemd in its own cgroup and namespace; returns as soon as its first process is there. Raises LabError.

    environment: the lab's.
    """
    cgroups.make(host.cgroups)
    shell, nspawn = shutil.which("sh"), shutil.which("systemd-nspawn")
    if not shell or not nspawn:
        raise LabError("systemd-nspawn is not on this machine", next="install systemd-container, or use the local driver")
    argv = [nspawn, "-q", "-D", str(tree(host)), "-M", f"{host.netns}", "--hostname", host.name, "--register=no", "--keep-unit"]
    argv += [f"--network-namespace-path=/run/netns/{host.netns}", "--console=pipe", "--boot"]
    log = Path(host.folder) / "console.log"
    init = processes.spawn([shell, "-c", _KEEPER, "keeper", " ".join(host.cgroups), *argv], log=log, environment=environment)
    booted = msgspec.structs.replace(host, init=init)
    deadline = clock.monotonic_ns() + int(_LEADER_S * NS_PER_S)
    while clock.monotonic_ns() < deadline and processes.alive(init):
        if leader(booted):
            return booted
        clock.sleep_s(_POLL_S)
    words = log.read_text(errors="replace")[-400:].strip()
    raise LabError(f"does not boot: {words or 'nothing was said'}", where=host.name, next=f"see {log}")


def leader(host: LabHost) -> processes.Proc | None:
    """The host's pid 1 as this machine numbers it (child of nspawn, child of the keeper); None while it is down."""
    if host.init is None or processes.find(host.init.pid) != host.init:
        return None
    for nspawn in processes.children(host.init.pid):
        for child in processes.children(nspawn):
            if (proc := processes.find(child)) and _is_first_in_namespace(child):
                return proc
    return None


def _is_first_in_namespace(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    numbers = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
    return len(numbers) > 1 and numbers[-1] == "1"


def enter(host: LabHost, argv: Sequence[str], *, text: str | None = None, timeout_s: float = 30.0) -> str:
    """Run a command inside the host as its root; what it prints. Raises LabError."""
    first = leader(host)
    if first is None:
        raise LabMisused("the host is down", where=host.name, next=f"heal its power-cut to boot {host.name}")
    return run(
        ["nsenter", "-t", str(first.pid), "-m", "-p", "-u", "-i", "-n", "--", *argv], text=text, timeout_s=timeout_s, where=host.name
    )


def power_cut(host: LabHost, clock: Clock) -> None:
    """Everything of the host dies at once, nothing is flushed by anybody. Raises LabError."""
    if host.init is not None:
        processes.send(host.init, signal.SIGKILL)  # first: it would boot the host again
    cgroups.kill(host.cgroups, clock)
    cgroups.remove(host.cgroups)
    if host.init is not None:
        processes.alive(host.init)
