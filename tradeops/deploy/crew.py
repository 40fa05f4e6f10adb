"""The hosts of one run with what is known of each, and the one way to do a thing on all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import msgspec

from tradeops.base.clock import NS_PER_S
from tradeops.base.digest import digest_bytes
from tradeops.base.errors import TradeopsError
from tradeops.checks.proof import Expected
from tradeops.contracts.agent import AgentVerb, Code, Facts
from tradeops.contracts.codec import convert, encode
from tradeops.contracts.directive import SCHEMA, Delegation, Directive, DirectiveReply, Verb
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.flags import active_flags
from tradeops.contracts.status import MarkKind
from tradeops.deploy.journal import Journal
from tradeops.deploy.places import beside
from tradeops.deploy.plan import Plan, binding_of
from tradeops.deploy.playbook import Playbook
from tradeops.deploy.site import PhaseProgress, Progress, Site
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Outcome, errors
from tradeops.fleet.ports import AgentSession

T = TypeVar("T")
DEPLOY = "deploy"
"""The verb under which an agent lends its lock."""
DELEGATION_SCHEMA = "tradeops/delegation/v1"
DELEGATION_S = 6 * 3600
"""How long a run key is lent for, besides the time that the plan waits."""
DIRECTIVE_S = 60


class PhaseFailed(Exception):
    """A phase did not come true on some hosts; the reason for each."""

    def __init__(self, phase: str, failures: Mapping[str, TradeopsError]) -> None:
        super().__init__(phase)
        self.phase = phase
        self.failures = dict(failures)


class KillArrived(Exception):
    """Somebody killed hosts while the run was on: it stops where it is."""

    def __init__(self, kill: str) -> None:
        super().__init__(kill)
        self.kill = kill


class Ousted(Exception):
    """Another session has the run's hosts, or another run: this one ends where it is, and touches nothing any more."""


@dataclass
class HostState:
    """What the run knows of a host. fence: of its lock, None: not locked.  locked_ns: when that was renewed.  lapsed: its agent
    says that the run holds it no longer.

    leased: it trades only while the run renews its lease, on cap_ppm of its flow.  switched: the link may be on the new
    release, or the token with its slot.  beside: a process may live in the slot that did not trade; standing: of the new release,
    from an earlier session of this run.  cold: the slot that was taken over from died in its warm time.  there: proved on the new
    release by an earlier session.  before: processes that must not be the proved one.  marks, kills: ids known when the run began.
    proved: release proved to run, in `slot`.  silent_ns: since when nothing is heard, and when that was last looked for.
    """

    host: Host
    session: AgentSession
    fence: int | None = None
    locked_ns: int = 0
    lapsed: bool = False
    leased: bool = False
    cap_ppm: int | None = None
    switched: bool = False
    beside: bool = False
    standing: bool = False
    cold: bool = False
    there: bool = False
    before: frozenset[tuple[int, int]] = field(default_factory=frozenset)
    marks: frozenset[str] = field(default_factory=frozenset)
    kills: frozenset[str] = field(default_factory=frozenset)
    proved: str | None = None
    slot: str = ""
    trading: bool = False
    silent_ns: tuple[int, int] | None = None

    @property
    def open(self) -> bool:
        """On the new release, and not passed."""
        return self.leased and self.switched


class Crew:
    """One run's hosts, its key, and its journal. struck: excluded hosts that were seen blocked; struck_ns: when last looked."""

    def __init__(
        self, site: Site, plan: Plan, playbook: Playbook, run: str, journal: Journal, sessions: Mapping[str, AgentSession]
    ) -> None:
        self.site = site
        self.plan = plan
        self.playbook = playbook
        self.run = run
        self.journal = journal
        by_name = {host.name: host for host in site.hosts}
        self.states = {name: HostState(by_name[name], session) for name, session in sessions.items()}
        self.struck: set[str] = set()
        self.struck_ns = 0
        self.key = site.run_key()
        self.delegation = self._delegate()

    def _delegate(self) -> Envelope:
        now_ns = self.site.clock.wall_ns()
        body = encode(
            Delegation(
                schema=DELEGATION_SCHEMA,
                run=self.run,
                fleet=self.site.fleet,
                hosts=self.plan_hosts(),
                verbs=(DEPLOY, Verb.HALT, Verb.RESUME, Verb.LEASE, Verb.HOLD, Verb.STANDBY, Verb.ACTIVATE),
                key=self.key.public_line,
                issued_ns=now_ns,
                expires_ns=now_ns + int(DELEGATION_S + self.plan.lasts_s()) * NS_PER_S,
            )
        )
        return Envelope.of(body, self.site.signer.sign(body, Purpose.DELEGATION))

    @property
    def kept(self) -> bool:
        """Whether the service is not ours: a halt ends it, so a run halts only what is to stay so."""
        return self.site.releases.manifest(self.plan.release).predicate.start.kept

    def plan_hosts(self) -> tuple[str, ...]:
        """Every host's name, in the order of the waves."""
        return tuple(part.host for part in self.plan.hosts)

    def hosts(self, names: Iterable[str]) -> list[Host]:
        """The hosts of these names."""
        return [self.states[name].host for name in names]

    def expected(self, name: str) -> Expected:
        """What the plan wants `name` to run."""
        return self._expected(name, self.plan.release, self.plan.part(name).slot)

    def expected_beside(self, name: str) -> Expected:
        """The same before it trades, where slots take turns."""
        return replace(self.expected(name), standby=True)

    def expected_before(self, name: str) -> Expected:
        """What `name` ran when the plan was made, where it ran."""
        part = self.plan.part(name)
        return self._expected(name, part.old or "", part.active)

    def _expected(self, name: str, release: str, slot: str) -> Expected:
        predicate = self.site.releases.manifest(release).predicate
        return Expected(
            release=release,
            binding=digest_bytes(binding_of(self.site, name)),
            overlay=None if predicate.start.kept else self.site.overlay_number,
            slot=slot,
            flags=None if predicate.start.kept else active_flags(predicate.flags, self.site.flags_off),
            before=self.states[name].before,
        )

    def call(self, name: str, verb: AgentVerb, *, timeout_s: float | None = None, **args: Any) -> dict[str, Any]:
        """Ask one host's agent under the run's lock. Raises as AgentSession.call."""
        state = self.states[name]
        wait_s = self.playbook.deadlines.verb if timeout_s is None else timeout_s
        return state.session.call(verb, run=self.run, fence=state.fence, timeout_s=wait_s, **args)

    def each(self, phase: str, names: Sequence[str], act: Callable[[str], T], *, deadline_s: float) -> dict[str, Outcome[T]]:
        """Do `act` on each host side by side, telling the screen."""

        def told(host: Host) -> T:
            self.tell(phase, host.name, "started")
            return act(host.name)

        outcomes = self.site.fan_out.run(self.hosts(names), told, deadline_s=deadline_s)
        failures = errors(outcomes)
        for name in names:
            self.tell(phase, name, "failed" if name in failures else "done", failures[name].what if name in failures else "")
        return outcomes

    def all(self, phase: str, names: Sequence[str], act: Callable[[str], T], *, deadline_s: float) -> dict[str, T]:
        """The same where every host must come true. Raises PhaseFailed, KillArrived, Ousted."""
        outcomes = self.each(phase, names, act, deadline_s=deadline_s)
        if failures := errors(outcomes):
            self.raise_stops(failures)
            raise PhaseFailed(phase, failures)
        return {name: outcome.value for name, outcome in outcomes.items()}  # type: ignore[union-attr]  # errors() left only Done

    def raise_stops(self, failures: Mapping[str, TradeopsError]) -> None:
        """A host that refuses our fence was latched, or is another session's: neither is a failure. Raises KillArrived, Ousted."""
        fenced = sorted(name for name, error in failures.items() if error.code == Code.FENCED)
        silent = []
        for name in fenced:
            try:
                facts = self.facts(name)
            except TradeopsError:
                silent.append(name)
                continue
            if facts.fence != self.states[name].fence:
                raise self.fenced_by(name, facts)
        if silent:
            raise KillArrived(f"latched over SSH on {', '.join(silent)}")

    def fenced_by(self, name: str, facts: Facts) -> KillArrived | Ousted:
        """Who raised a host's fence above ours: a kill that was latched there, or another session that has or had the host."""
        state, lock = self.states[name], facts.lock
        kills = sorted(mark.id for mark in facts.marks if mark.kind == MarkKind.KILL and mark.id not in state.kills)
        if kills:
            return KillArrived(", ".join(kills))
        whose = f"by run {lock.run} of {lock.owner}" if lock else "by a session that has ended since"
        return Ousted(f"{name} was taken {whose} (fence {facts.fence}, ours was {state.fence})")

    def facts(self, name: str) -> Facts:
        """What a host's agent says of it now. Raises as AgentSession.call."""
        return convert(self.states[name].session.call(AgentVerb.FACTS, timeout_s=self.playbook.deadlines.verb), Facts)

    def tell(self, phase: str, host: str, state: str, detail: str = "") -> None:
        """One line for the screen."""
        self.site.progress(Progress(self.run, phase, host, state, detail))

    @contextmanager
    def phase(self, name: str, hosts: Sequence[str]) -> Iterator[None]:
        """The audit pair and the journal lines around a phase. Raises TradeopsError when nothing can be written."""
        clock = self.site.clock
        intent = self.site.ledger.intent(name, run=self.run, hosts=hosts, detail={"release": self.plan.release})
        self.journal.note(name, "begun", clock.wall_ns(), hosts=list(hosts))
        self._tell_phase(name, hosts, "begun", {})
        try:
            yield
        except Ousted as error:
            self.site.ledger.outcome(intent, str(error), detail={})
            raise
        except (PhaseFailed, KillArrived) as error:
            self._tell_phase(name, hosts, "failed", _reasons(error))
            self._close(intent, name, str(error) if isinstance(error, KillArrived) else "failed", _reasons(error))
            raise
        except BaseException as error:
            self._close(intent, name, type(error).__name__, {})
            raise
        self._tell_phase(name, hosts, "done", {})
        self._close(intent, name, "done", {})

    def _tell_phase(self, phase: str, hosts: Sequence[str], state: str, problems: Mapping[str, str]) -> None:
        self.site.progress(PhaseProgress(self.run, phase, tuple(hosts), state, problems))

    def _close(self, intent: int, name: str, outcome: str, detail: dict[str, str]) -> None:
        self.journal.note(name, outcome, self.site.clock.wall_ns(), **detail)
        self.site.ledger.outcome(intent, outcome, detail=detail)

    def direct(
        self, verb: Verb, names: Sequence[str], reason: str, *, args: Mapping[str, int | str] | None = None, wait_ms: int = 0
    ) -> dict[str, Outcome[DirectiveReply]]:
        """Tell guards, each with the fence of its own host; hosts of one fence get the same document."""
        replies: dict[str, Outcome[DirectiveReply]] = {}
        deadline_s = self.playbook.deadlines.control + wait_ms / 1000
        for fence in sorted({self.states[name].fence or 0 for name in names}):
            group = [name for name in names if (self.states[name].fence or 0) == fence]
            envelope = self.directive(verb, group, reason, args={**(args or {}), "fence": fence})
            replies |= self.site.controls.direct(self.hosts(group), envelope, deadline_s=deadline_s, wait_ms=wait_ms)
        return replies

    def directive(
        self, verb: Verb, hosts: Sequence[str], reason: str, *, ends: tuple[str, ...] = (), args: Mapping[str, int | str] | None = None
    ) -> Envelope:
        """A directive signed by the run's key."""
        now_ns = self.site.clock.wall_ns()
        body = encode(
            Directive(
                schema=SCHEMA,
                id=self.site.new_id(),
                verb=verb,
                fleet=self.site.fleet,
                hosts=tuple(hosts),
                reason=reason,
                issued_ns=now_ns,
                expires_ns=now_ns + DIRECTIVE_S * NS_PER_S,
                ends=ends,
                run=self.run,
                args=dict(args or {}),
            )
        )
        return Envelope.of(body, self.key.sign(body, Purpose.DIRECTIVE), delegation=self.delegation)


def learn(crew: Crew, facts: Mapping[str, Facts]) -> None:
    """Take over what preflight saw: marks and kills that were there before the run, and what lives beside what trades."""
    for name, fact in facts.items():
        crew.states[name].beside = beside(fact, crew.plan.part(name).active)
        crew.states[name].marks = frozenset(mark.id for mark in fact.marks)
        crew.states[name].kills = frozenset(mark.id for mark in fact.marks if mark.kind == "kill")


def _reasons(error: PhaseFailed | KillArrived) -> dict[str, str]:
    return {name: str(reason) for name, reason in error.failures.items()} if isinstance(error, PhaseFailed) else {}


def as_envelope(envelope: Envelope) -> dict[str, Any]:
    """An envelope as plain JSON values, for the agent's line."""
    plain: dict[str, Any] = msgspec.to_builtins(envelope)
    return plain
