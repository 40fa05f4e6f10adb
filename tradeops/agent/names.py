"""Where things lie on a host: the agent's own copy of contracts/layout.py, held to it by tests/contract."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

SLOTS = ("blue", "green")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@+-]{0,127}")


def is_digest(text: object) -> bool:
    """Whether `text` is a whole content address."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def is_id(text: object) -> bool:
    """Whether `text` may name a file: no separators, no leading dot, bounded."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


@dataclass(frozen=True)
class Layout:
    """Paths below one root folder."""

    root: Path

    @property
    def bin(self) -> Path:
        return self.root / "bin"

    @property
    def agent_launcher(self) -> Path:
        return self.bin / "tradeops-agent"

    @property
    def platforms(self) -> Path:
        """One folder per platform release, named by its hex, its envelope beside it as `HEX.json`; and `current`."""
        return self.root / "platform"

    @property
    def platform(self) -> Path:
        return self.platforms / "current"

    @property
    def host_file(self) -> Path:
        return self.root / "etc" / "host.json"

    @property
    def policy_file(self) -> Path:
        return self.root / "etc" / "policy.json"

    @property
    def roster_file(self) -> Path:
        return self.root / "etc" / "roster.json"

    @property
    def tls(self) -> Path:
        return self.root / "etc" / "tls"

    @property
    def agent_state(self) -> Path:
        return self.root / "agent"

    @property
    def incoming(self) -> Path:
        """Envelopes of releases that were offered and are not assembled yet, `HEX.json`."""
        return self.agent_state / "incoming"

    @property
    def latched(self) -> Path:
        return self.root / "latched"

    @property
    def guard_state(self) -> Path:
        return self.root / "guard"

    @property
    def stop_page(self) -> Path:
        return self.root / "pages" / "stop.page"

    def vitals_page(self, slot: str) -> Path:
        return self.root / "vitals" / f"{slot}.page"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    def blob(self, digest: str) -> Path:
        """The file of one blob: `aa/<64 hex>`."""
        name = digest[len("sha256:") :]
        return self.blobs / name[:2] / name

    @property
    def releases(self) -> Path:
        return self.root / "releases"

    def release(self, digest: str) -> Path:
        return self.releases / digest[len("sha256:") :]

    def slot(self, name: str) -> Path:
        return self.root / "slots" / name

    @property
    def held_file(self) -> Path:
        return self.root / "slots" / "held"

    @property
    def overlay_file(self) -> Path:
        return self.root / "pages" / "overlay.json"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def logs(self) -> Path:
        return self.root / "logs"


def linked_digest(link: Path) -> str | None:
    """The release a link such as `slots/blue/current` or `platform/current` leads to, by its folder's name."""
    try:
        name = link.readlink().name
    except OSError:
        return None
    digest = f"sha256:{name}"
    return digest if is_digest(digest) else None
