"""One managed host as every operator room sees it: the fleet file's defaults already applied."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Host:
    """How to reach a host and what it is for. host_key: pinned OpenSSH public key line, "" leaves it to known_hosts.

    weight: share of flow.  jump: name in Fleet.jumps.  fields: free, from the fleet file.
    """

    name: str
    address: str
    port: int
    user: str
    host_key: str
    control_port: int
    interpreter: str
    root: PurePosixPath
    service_manager: str
    tags: frozenset[str] = frozenset()
    weight: int = 1
    jump: str | None = None
    admin_user: str = "root"
    identity_file: str | None = None
    fields: dict[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class JumpHost:
    """A host that others are reached through. host_key: "" leaves it to known_hosts.  jump: the hop before it."""

    name: str
    address: str
    port: int
    user: str | None
    host_key: str
    identity_file: str | None = None
    jump: str | None = None


@dataclass(frozen=True)
class SshEntry:
    """What a person's ~/.ssh/config says of one address; None where it says nothing. proxy_jump: in the order to go."""

    host_name: str | None = None
    port: int | None = None
    user: str | None = None
    identity_file: str | None = None
    proxy_jump: tuple[str, ...] = ()
