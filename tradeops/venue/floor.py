"""The trading floor: what a member's message does, and where all that follows from it goes."""

from __future__ import annotations

from collections.abc import Iterable

from tradeops.base.clock import Clock
from tradeops.venue.dropcopy import DropCopy
from tradeops.venue.engine import Exchange
from tradeops.venue.journal import Entry, Journal
from tradeops.venue.members import Members
from tradeops.venue.orders import Routed
from tradeops.venue.sessions import Session, Sessions
from tradeops.wire.protocol import (
    CancelAll,
    CancelOrder,
    ChangeOrder,
    Code,
    Heartbeat,
    Logon,
    Logout,
    NewOrder,
    OrdersUp,
    QueryOrder,
    Resend,
    Role,
)


class Floor:
    """Exchange, sessions, drop copy and journal as one."""

    def __init__(
        self, exchange: Exchange, sessions: Sessions, drop_copy: DropCopy, members: Members, journal: Journal, clock: Clock
    ) -> None:
        self.exchange = exchange
        self.sessions = sessions
        self.drop_copy = drop_copy
        self.journal = journal
        self.clock = clock
        self._members = members

    def on_message(self, session: Session, seq: int, message: OrdersUp) -> bool:
        """Act on one decoded message; False: the session cannot go on and is to be closed."""
        if isinstance(message, Heartbeat):
            return True
        if isinstance(message, Resend):
            self.sessions.handle_resend(session, message)
            return True
        if isinstance(message, Logon):
            session.notice(Code.BAD_MESSAGE, text="logged on already")
            return False
        if isinstance(message, Logout):
            session.log_out(sum(record.session == session.name for record in self.exchange.working.values()))
            return False
        due = self.sessions.take_seq(session, seq)
        if due is None:
            session.notice(Code.BAD_SEQUENCE, ref_seq=seq, text=f"{session.expected_seq} was due")
            return False
        if due:
            self._act(session, seq, message)
        return True

    def publish(self, routed: Iterable[Routed]) -> None:
        """Hand every message to its session and its drop copies."""
        for one in routed:
            seq = self.sessions.deliver(one)
            self.drop_copy.deliver(one)
            self.journal.add(Entry(self.clock.wall_ns(), "out", one.account, one.session, seq or 0, one.message))

    def leave(self, session: Session) -> None:
        """A session's connection has ended: after a logout, or lost."""
        session.channel = None
        if session.cancel_on_disconnect and not session.keeps:
            self.publish(self.exchange.disconnected(session.name, self.clock.wall_ns()))

    def _act(self, session: Session, seq: int, message: NewOrder | ChangeOrder | CancelOrder | CancelAll | QueryOrder) -> None:
        now_ns = self.clock.wall_ns()
        self.journal.add(Entry(now_ns, "in", session.account, session.name, seq, message))
        if session.role is Role.CANCEL_ONLY and isinstance(message, NewOrder | ChangeOrder):
            session.notice(Code.NOT_ALLOWED, ref_seq=seq, text="this session may cancel and query alone")
            return
        who = (session.account, session.name)
        match message:
            case NewOrder():
                self.publish(self.exchange.new(*who, message, now_ns))
            case ChangeOrder():
                self.publish(self.exchange.change(*who, message, now_ns))
            case CancelOrder():
                self.publish(self.exchange.cancel(*who, message, now_ns))
            case CancelAll():
                self.publish(self.exchange.cancel_all(*who, self._members.oversees(session.account), message, now_ns))
            case QueryOrder():
                self.publish([self.exchange.query(*who, message)])
