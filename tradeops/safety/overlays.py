"""The newest overlay: by this machine's files or, where somebody laid it from another machine, by the hosts, which hold it signed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tradeops.base.errors import Refused, TradeopsError
from tradeops.contracts.binding import Overlay
from tradeops.contracts.entitle import entitled
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.overlay import brought_back, loosened, open_overlay
from tradeops.contracts.policy import Policy
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import errors, values
from tradeops.fleet.ports import Controls

Signed = tuple[Envelope, Overlay]
"""An overlay, and the directive that carries it."""


@dataclass(frozen=True)
class Heard:
    """An overlay that this machine did not have. people: whose signatures it bears.  hosts: that hold it."""

    envelope: Envelope
    overlay: Overlay
    people: tuple[str, ...]
    hosts: tuple[str, ...]

    def words(self) -> str:
        """For a person."""
        return f"overlay {self.overlay.number}, signed by {', '.join(self.people)}, is in force on {len(self.hosts)} hosts and was not here"


class Overlays:
    """read: the newest one here, None: none was ever laid.  keep: make it the newest one here.

    unbelieved: hosts that say they have a newer one, and why that is not taken over; by the last time they were heard.
    """

    def __init__(
        self, read: Callable[[], Signed | None], keep: Callable[[Overlay, Envelope], None], controls: Controls, policy: Policy
    ) -> None:
        self._read = read
        self._keep = keep
        self._controls = controls
        self._policy = policy
        self._heard: Heard | None = None
        self.unbelieved: Mapping[str, str] = {}

    def newest(self) -> Signed | None:
        """Read anew: somebody may have tightened meanwhile, from here or from elsewhere. Raises as the reading does."""
        here = self._read()
        heard = self._beyond(here)
        return (heard.envelope, heard.overlay) if heard else here

    def heard(self) -> Heard | None:
        """What hosts have and this machine has not."""
        return self._beyond(self._read())

    def _beyond(self, here: Signed | None) -> Heard | None:
        return self._heard if self._heard and self._heard.overlay.number > (here[1].number if here else 0) else None

    def keep(self, heard: Heard) -> None:
        """It is this machine's newest from here on. Raises OSError."""
        self._keep(heard.overlay, heard.envelope)

    def hear(self, hosts: Sequence[Host], reported: Mapping[str, int], *, deadline_s: float) -> None:
        """Where any host reports a higher number [by host], ask all for what they hold, and believe it if it can be.

        Raises nothing for a host's sake.
        """
        newest = self.newest()
        known = newest[1] if newest else None
        ahead = [name for name, number in reported.items() if number > (known.number if known else 0)]
        held = self._controls.overlays(hosts, deadline_s=deadline_s) if ahead else {}
        problems = {name: error.what for name, error in errors(held).items()}
        believed: dict[str, Overlay] = {}
        for name, envelope in values(held).items():
            try:
                believed[name] = believe(envelope, known, self._policy, name)
            except TradeopsError as error:
                problems[name] = error.what
        if believed:
            problems |= self._take(values(held), believed)
        self.unbelieved = {name: problems[name] for name in ahead if name in problems}

    def _take(self, held: Mapping[str, Envelope], believed: Mapping[str, Overlay]) -> dict[str, str]:
        """The highest number, of which there must be one document. Returns what is wrong, by host."""
        number = max(overlay.number for overlay in believed.values())
        hosts = tuple(name for name, overlay in believed.items() if overlay.number == number)
        envelope, overlay = held[hosts[0]], believed[hosts[0]]
        if any(believed[name] != overlay for name in hosts):
            return dict.fromkeys(hosts, f"hosts hold several overlays of the number {number}")
        people = entitled(self._policy, "overlay", envelope, Purpose.DIRECTIVE, now_ns=None, host=None).people
        self._heard = Heard(envelope, overlay, people, hosts)
        return {}


def believe(envelope: Envelope, known: Overlay | None, policy: Policy, host: str) -> Overlay:
    """What a host holds, when entitled people signed it for that host, and it is newer than what is known and only tightens that.

    Raises SignatureInvalid, Refused, UsageError.
    """
    overlay = open_overlay(envelope, policy, fleet=policy.fleet, host=host, source=host)
    if known is None:
        return overlay
    if overlay.number <= known.number:
        raise Refused(f"what it holds is overlay {overlay.number}, and {known.number} is known", where=host)
    if found := [*brought_back(known, overlay), *loosened(known, overlay)]:
        raise Refused(f"overlay {overlay.number} would loosen {', '.join(found)}", where=host)
    return overlay
