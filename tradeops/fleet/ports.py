"""The ports of the operator side. Real ones: fleet/agent.py, control.py, fanout.py, haproxy.py; simulated: tests/sim.

One contract suite over all implementations of a port.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from tradeops.contracts.agent import AgentVerb, Hello
from tradeops.contracts.directive import DirectiveReply
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.identity import IdentityReport
from tradeops.contracts.status import Health, Status
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Outcome
from tradeops.fleet.share import Share

T = TypeVar("T")


class AgentSession(Protocol):
    """One open session with the agent of one host, for a whole run."""

    hello: Hello

    @property
    def bytes_sent(self) -> int:
        """Payload bytes that left for this host so far, lines and bodies."""

    def call(self, verb: AgentVerb, *, run: str | None = None, fence: int | None = None, timeout_s: float, **args: Any) -> dict[str, Any]:
        """Ask and wait for the answer's `result`.

        Raises LockHeld (locked, fenced), Refused (signature, digest, older), TradeopsError (other codes),
        Unreachable (nothing was sent), OutcomeUnknown (sent, no answer).
        """

    def stream(
        self,
        verb: AgentVerb,
        body: Iterable[bytes],
        total_bytes: int,
        *,
        run: str | None = None,
        fence: int | None = None,
        timeout_s: float,
        **args: Any,
    ) -> dict[str, Any]:
        """The same with `total_bytes` raw bytes after the request line. timeout_s: silence, not the whole."""

    def close(self) -> None:
        """End the session. Never raises."""


class Agents(Protocol):
    """Opens agent sessions over SSH."""

    def open(self, host: Host, *, timeout_s: float) -> AgentSession:
        """Raises Unreachable, HostKeyMismatch."""


class Controls(Protocol):
    """The guards' control API, many hosts at once. No method raises for one host's sake: each has its outcome."""

    def identities(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[IdentityReport]]: ...

    def statuses(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[Status]]: ...

    def healths(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[Health]]: ...

    def metrics(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[str]]: ...

    def rosters(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[Envelope]]:
        """The roster that each host keeps, its signatures not asked."""

    def overlays(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[Envelope]]:
        """The directive that set the overlay in force on each host, its signatures not asked."""

    def direct(
        self,
        hosts: Sequence[Host],
        envelope: Envelope,
        *,
        deadline_s: float,
        wait_ms: int = 0,
        answered: Callable[[str, Outcome[DirectiveReply]], None] | None = None,
    ) -> dict[str, Outcome[DirectiveReply]]:
        """POST one directive to each. wait_ms: how long the guard may wait for blocked before it answers.

        answered: called with each host's name and outcome as it comes in, on another thread maybe.
        A kill is sent without a client certificate.
        """


class FanOut(Protocol):
    """Does something on many hosts side by side and waits for all."""

    def run(
        self, hosts: Sequence[Host], act: Callable[[Host], T], *, deadline_s: float, concurrency: int | None = None
    ) -> dict[str, Outcome[T]]:
        """An outcome per host, in the order of `hosts`. A TradeopsError is Failed, OutcomeUnknown is Unknown; past the
        deadline a host is Unknown and no longer waited for. Any other exception is a bug and is raised after all ended.
        """

    def together(self, works: Sequence[Callable[[], None]]) -> None:
        """Do different things side by side and wait for all; the first exception is raised after all have ended."""


class Traffic(Protocol):
    """What stands before the service's port and shares its traffic out over the hosts: one proxy or several, which must agree.

    hosts: the fleet's names. A change returns when every proxy has been seen to hold it; a host in maintenance is a
    person's and is left as it is. Every method raises Unreachable (nothing was sent), PreflightFailed (a proxy is not what
    the fleet file says) and OutcomeUnknown (sent, and not seen to hold).
    """

    def read(self, hosts: Sequence[str]) -> tuple[Share, ...]:
        """What each proxy says of each host, now."""

    def drain(self, hosts: Sequence[str]) -> None:
        """No new connections to these hosts; those that are open go on."""

    def ready(self, hosts: Sequence[str]) -> None:
        """New connections again, as far as the proxy finds them up."""

    def weigh(self, hosts: Sequence[str], percent: int) -> None:
        """Their weight, in percent of what the proxy's own configuration gives them; 1 to 100."""
