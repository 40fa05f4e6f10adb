"""Users of a managed host, and the one narrow way in: a forced command, and sudo for nothing else."""

from __future__ import annotations

import grp
import os
import pwd
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import SERVICE, AgentError, bad_request
from .files import write_atomic
from .hostfile import HostFile
from .names import Layout
from .sshkey import parse_line

SUDOERS = "etc/sudoers.d/tradeops"
HOMES = "var/lib/tradeops-login"
_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_TIMEOUT_S = 30


@dataclass(frozen=True)
class Owner:
    """Who owns a file."""

    uid: int
    gid: int


@dataclass(frozen=True)
class People:
    """root: the agent's files.  guard, trader: those of the daemons; all one where one user owns all (local lab)."""

    root: Owner
    guard: Owner
    trader: Owner


def ensure(host: HostFile, login: dict[str, Any] | None, changed: list[str]) -> People:
    """Make the users that are not there. Raises AgentError (service, bad_request)."""
    me = Owner(os.getuid(), os.getgid())
    for user in (host.guard_user, host.trader_user):
        if user:
            _add(user, "/nonexistent", "/usr/sbin/nologin", changed)
    if login and login["user"] != "root":
        _add(login["user"], f"/{HOMES}/{login['user']}", "/bin/sh", changed)
    return People(me, _owner(host.guard_user) or me, _owner(host.trader_user) or me)


def let_in(layout: Layout, login: dict[str, Any] | None, changed: list[str], top: Path = Path("/")) -> None:
    """The operator's keys: a forced command and nothing else, in a file that the login cannot change.

    login: {user, keys: public lines}; None: somebody else looks after it (local lab).  top: the file tree of the host.
    """
    if login is None:
        return
    user, agent = login["user"], str(layout.agent_launcher)
    command = agent if user == "root" else f"sudo -n {agent}"
    lines = [f'restrict,command="{command}" {_key(line)}' for line in login["keys"]]
    if user == "root":
        _merge_root_keys(top / "root/.ssh/authorized_keys", lines, agent, changed)
        return
    home = top / HOMES / user
    for folder in (home.parent, home, home / ".ssh"):
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        os.chown(folder, os.getuid(), os.getgid())
        folder.chmod(0o755)
    _put(home / ".ssh" / "authorized_keys", "\n".join(lines) + "\n", 0o644, changed)
    _put(top / SUDOERS, f'Defaults:{user} !requiretty\n{user} ALL=(root) NOPASSWD: {agent} ""\n', 0o440, changed)


def _merge_root_keys(path: Path, lines: list[str], agent: str, changed: list[str]) -> None:
    """Root logs in for the admin as well: only the lines that force the agent are ours."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    kept = [line for line in path.read_text().splitlines() if f'command="{agent}"' not in line] if path.exists() else []
    _put(path, "\n".join([*kept, *lines]) + "\n", 0o600, changed)


def _key(line: str) -> str:
    key = parse_line(line)
    if key is None:
        raise bad_request(f"not a public key line: {line[:80]!r}")
    return key.line


def _add(user: str, home: str, shell: str, changed: list[str]) -> None:
    if not _NAME.fullmatch(user):
        raise bad_request(f"{user!r} is not a user's name")
    if _owner(user):
        return
    argv = ["useradd", "--system", "--user-group", "--home-dir", home, "--no-create-home", "--shell", shell, user]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        raise AgentError(SERVICE, f"user {user} cannot be made: {done.stderr.strip()[-300:]}")
    changed.append(f"user {user}")


def _owner(user: str | None) -> Owner | None:
    try:
        return Owner(pwd.getpwnam(user).pw_uid, grp.getgrnam(user).gr_gid) if user else None
    except KeyError:
        return None


def _put(path: Path, text: str, mode: int, changed: list[str]) -> None:
    if not path.exists() or path.read_text() != text:
        write_atomic(path, text.encode(), mode)
        changed.append(str(path))
