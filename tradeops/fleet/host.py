"""One managed host as every operator room sees it: the fleet file's defaults already applied."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Host:
    """How to reach a host and what it is for. host_key: OpenSSH public key line, pinned.  weight: share of flow."""

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
