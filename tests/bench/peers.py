"""Ansible and pyinfra, each in a virtual environment of its own, doing the same work on the same hosts. Never dependencies of ours.

Both send the release as one archive and unpack it, which is far quicker with them than a tree of many files, and do all hosts at once.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tradeops.lab.state import LabState

ROOT = "/srv/peer"
PORT = 8099
UNIT = "peer.service"
_INSTALL_S = 600.0
_RUN_S = 600.0
_PR_SET_CHILD_SUBREAPER = 36
_UNIT = f"""\
[Service]
WorkingDirectory={ROOT}/current
EnvironmentFile={ROOT}/current/environment
ExecStart=/usr/bin/python3 -I -B {ROOT}/current/serve.py 127.0.0.1 {PORT}
"""
_SETUP = f"mkdir -p {ROOT}/releases && cat > /etc/systemd/system/{UNIT} && systemctl daemon-reload"
_PYINFRA = """\
from pyinfra.operations import files, server, systemd
release, root = "{release}", "{root}"
folder = f"{{root}}/releases/{{release}}"
files.put(src="{archive}", dest=f"{{root}}/{{release}}.tar")
server.shell(commands=[f"mkdir -p {{folder}} && tar -xf {{root}}/{{release}}.tar -C {{folder}} && rm {{root}}/{{release}}.tar"])
files.link(path=f"{{root}}/current", target=folder)
systemd.service(service="{unit}", running=True, restarted=True)
check = "import sys,urllib.request;sys.exit(urllib.request.urlopen('http://127.0.0.1:{port}/').read() != b'{release}')"
server.shell(commands=[f'for n in $(seq 50); do python3 -c "{{check}}" 2>/dev/null && exit 0; sleep 0.1; done; exit 1'])
"""


@dataclass(frozen=True)
class Peer:
    """name; bin: the folder of its programs."""

    name: str
    bin: Path
    version: str


@dataclass(frozen=True)
class Site:
    """Where the peers work: a folder of ours, the hosts, and the key of their admin."""

    folder: Path
    state: LabState
    key: Path

    @property
    def known_hosts(self) -> Path:
        """The hosts' keys, pinned."""
        path = self.folder / "known_hosts"
        path.write_text("".join(f"{host.address} {host.host_key}\n" for host in self.state.hosts))
        return path


def install(name: str, package: str) -> Peer | None:
    """The peer in its virtual environment, made when it is not there; None when it cannot be had, which is said."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tradeops" / "bench" / name
    program = folder / "bin" / name
    try:
        if not program.exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=_INSTALL_S)
            pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", package]
            subprocess.run(pip, check=True, timeout=_INSTALL_S, stderr=subprocess.DEVNULL)
        told = subprocess.run([str(program), "--version"], check=True, timeout=60, capture_output=True, text=True).stdout
        return Peer(name, folder / "bin", told.splitlines()[0].strip())
    except (OSError, subprocess.SubprocessError) as error:
        sys.stdout.write(f"skipped: {name} cannot be installed: {error}\n")
        return None


def prepare(site: Site) -> None:
    """The unit on every host. Not part of any measurement."""
    for host in site.state.hosts:
        options = ["-F", "none", "-i", str(site.key), "-o", f"UserKnownHostsFile={site.known_hosts}", "-o", "BatchMode=yes"]
        subprocess.run(["ssh", *options, f"root@{host.address}", _SETUP], input=_UNIT, text=True, check=True, timeout=60)


def archive(site: Site, release: str, tree: Path) -> Path:
    """The tree with its name as the one file that differs each time. Not part of any measurement: a build is not a deploy."""
    path = site.folder / f"{release}.tar"
    (tree / "environment").write_text(f"TRADEOPS_RELEASE={release}\n")
    with tarfile.open(path, "w") as tar:
        tar.add(tree, ".")
    (tree / "environment").unlink()
    return path


def ansible(peer: Peer, site: Site, release: str, source: Path) -> list[str]:
    """The command line: pipelining, connections kept, no facts gathered, eight forks."""
    folder = f"{ROOT}/releases/{release}"
    tasks = [
        {"ansible.builtin.file": {"path": folder, "state": "directory"}},
        {"ansible.builtin.unarchive": {"src": str(source), "dest": folder}},
        {"ansible.builtin.file": {"src": folder, "dest": f"{ROOT}/current", "state": "link"}},
        {"ansible.builtin.systemd": {"name": UNIT, "state": "restarted"}},
        {
            "ansible.builtin.uri": {"url": f"http://127.0.0.1:{PORT}/", "return_content": True},
            "register": "answer",
            "until": f"answer.content | default('') == '{release}'",
            "retries": 10,
            "delay": 1,
        },
    ]
    play = [{"hosts": "all", "gather_facts": False, "tasks": tasks}]
    (site.folder / "play.yml").write_text(yaml.safe_dump(play))
    shared = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(site.key),
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={site.known_hosts} -o ControlPersist=60s",
    }
    hosts = {host.name: {"ansible_host": host.address} for host in site.state.hosts}
    (site.folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"vars": shared, "hosts": hosts}}))
    (site.folder / "ansible.cfg").write_text("[defaults]\nforks = 8\n[ssh_connection]\npipelining = True\n")
    return [str(peer.bin / "ansible-playbook"), "-i", str(site.folder / "hosts.yml"), str(site.folder / "play.yml")]


def pyinfra(peer: Peer, site: Site, release: str, source: Path) -> list[str]:
    """The command line: paramiko under gevent, all hosts at once."""
    data = {"ssh_user": "root", "ssh_key": str(site.key), "ssh_known_hosts_file": str(site.known_hosts)}
    hosts = [(host.address, data) for host in site.state.hosts]
    (site.folder / "inventory.py").write_text(f"hosts = {json.dumps(hosts)}\nhosts = [(name, data) for name, data in hosts]\n")
    text = _PYINFRA.format(release=release, root=ROOT, archive=source, unit=UNIT, port=PORT)
    (site.folder / "deploy.py").write_text(text)
    return [str(peer.bin / "pyinfra"), "-y", str(site.folder / "inventory.py"), str(site.folder / "deploy.py")]


Command = Callable[[Peer, Site, str, Path], list[str]]
PEERS: dict[str, tuple[str, Command]] = {"ansible": ("ansible-core", ansible), "pyinfra": ("pyinfra", pyinfra)}
"""Program -> the package that brings it, and the command line that deploys with it."""


def run(argv: Sequence[str], folder: Path) -> float:
    """Run a command to its end; seconds of CPU that it and all that it started took, connections that outlive it included.

    Raises CalledProcessError with what it said.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=_RUN_S, check=False, stdin=subprocess.DEVNULL)
    _end_what_it_left()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.stdout.write(done.stdout[-2000:] + done.stderr[-2000:])
        done.check_returncode()
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _end_what_it_left() -> None:
    """SSH connections kept open have come to us as their nearest reaper: ended, so that their CPU is counted."""
    me = os.getpid()
    for pid in map(int, Path(f"/proc/{me}/task/{me}/children").read_text().split()):
        if Path(f"/proc/{pid}/comm").read_text().strip() == "ssh":
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
