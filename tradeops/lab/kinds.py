"""The one table of faults: their names, what each does to a host, and what may be set about it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tradeops.base.errors import UsageError

PORTS = ("ssh", "control", "all")


@dataclass(frozen=True)
class Kind:
    """lasting: stands until it is healed; the others happen once.  settings: what may be set, with what holds if not."""

    name: str
    does: str
    lasting: bool = True
    settings: dict[str, str] = field(default_factory=dict, hash=False)


KINDS = {
    kind.name: kind
    for kind in (
        Kind("partition", "the host's cable is cut: everything hangs, in both directions"),
        Kind("drop", "packets to a port are dropped: connects and sessions hang", settings={"port": "all"}),
        Kind("reject", "a port refuses: connects fail at once", settings={"port": "all"}),
        Kind("loss", "a share of all packets is lost", settings={"percent": "20"}),
        Kind("slow", "the cable carries little", settings={"kbit": "256"}),
        Kind("delay", "every piece of a stream is held back", settings={"port": "ssh", "ms": "500"}),
        Kind("reset", "a stream is reset after so many bytes", settings={"port": "ssh", "bytes": "4096"}),
        Kind("truncate", "a stream ends early, politely", settings={"port": "ssh", "bytes": "4096"}),
        Kind("sshd-freeze", "sshd is stopped in its tracks: connects are taken and never answered"),
        Kind("sshd-stop", "sshd is not running"),
        Kind("guard-freeze", "the guard hangs"),
        Kind("guard-kill", "the guard is dead"),
        Kind("trader-freeze", "the trader hangs", settings={"slot": ""}),
        Kind("trader-kill", "the trader is dead", settings={"slot": ""}),
        Kind("disk-full", "not a byte is left on the host's disk"),
        Kind("read-only", "nothing new can be written below the root of tradeops"),
        Kind("power-cut", "everything on the host dies at once; healing boots it"),
        Kind("reboot", "the host goes down in order and comes back", lasting=False),
        Kind("host-key", "sshd shows another host key"),
        Kind("changed-file", "one bit of one file of the running release differs", settings={"slot": "", "file": ""}),
        Kind("extra-process", "an old process of the service is still there", settings={"release": ""}),
        Kind(
            "power-peg",
            "old code sends child orders without end",
            settings={"release": "", "parents": "27", "orders": "20000"},
        ),
        Kind("clock", "the host's clock is off", settings={"ms": "60000"}),
    )
}


def checked(name: str, given: dict[str, str]) -> tuple[Kind, dict[str, str]]:
    """The kind and its whole settings. Raises UsageError for a name or a setting that is not in the table."""
    kind = KINDS.get(name)
    if kind is None:
        raise UsageError(f"there is no fault {name!r}", next=f"one of: {', '.join(KINDS)}")
    if unknown := sorted(set(given) - set(kind.settings)):
        known = ", ".join(kind.settings) or "nothing"
        raise UsageError(f"{name} has no setting {unknown[0]!r}", next=f"it can be told: {known}")
    settings = kind.settings | given
    if settings.get("port", "all") not in PORTS:
        raise UsageError(f"{name}: no port is called {settings['port']!r}", next=f"one of: {', '.join(PORTS)}")
    return kind, settings


def number(settings: dict[str, str], name: str, least: int, most: int) -> int:
    """A setting as a whole number within bounds. Raises UsageError."""
    try:
        value = int(settings[name])
    except ValueError:
        raise UsageError(f"{name}={settings[name]}: not a whole number") from None
    if not least <= value <= most:
        raise UsageError(f"{name}={value}: it may be {least} to {most}")
    return value
