"""The port that both drivers fill, and what is asked of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tradeops.lab.state import Fault, LabHost, LabState

Progress = Callable[[str], None]
Settings = Mapping[str, str]


def host_name(index: int) -> str:
    """Of host `index`, from 1."""
    return f"h{index}"


@dataclass(frozen=True)
class Wish:
    """A lab as asked for. admin_key: public line that may log in as each host's admin.  operator_keys: public lines that
    reach the agent (local; elsewhere enrolment sees to it).  network: the range to choose addresses from; None is the
    driver's own.
    """

    folder: Path
    hosts: int
    admin_key: str
    operator_keys: tuple[str, ...] = ()
    network: str | None = None


class Driver(Protocol):
    """Makes hosts that answer on SSH, and takes them away. Every method may raise LabError, LabUnsupported."""

    name: str

    def up(self, wish: Wish, progress: Progress) -> LabState:
        """Hosts whose sshd answers; `lab.json` in the folder names all that was made."""

    def down(self, progress: Progress) -> None:
        """Remove all that `lab.json` names, also when only half of it was made, or it is half gone."""

    def boot(self, host: LabHost) -> LabHost:
        """Boot a host that is down; returns when its sshd answers."""

    def power_cut(self, host: LabHost) -> None:
        """End everything of the host at once."""

    def inject(self, host: LabHost, kind: str, settings: Settings) -> Fault:
        """Bring a fault about."""

    def heal(self, host: LabHost, fault: Fault) -> None:
        """Undo it, as far as it can be undone."""
