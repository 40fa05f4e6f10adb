"""Order entry sessions: numbers both ways, what can be sent again, who is connected. Outlive their connections."""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

import msgspec

from tradeops.venue.faults import FaultKind, Faults
from tradeops.venue.members import Members
from tradeops.venue.orders import Routed
from tradeops.wire.protocol import (
    Code,
    ExecKind,
    ExecutionReport,
    Heartbeat,
    LoggedOn,
    LoggedOut,
    Logon,
    LogonRefused,
    Notice,
    Resend,
    Role,
    frame,
)

_ENCODE: Final = msgspec.json.Encoder().encode
_ACKS: Final = frozenset({ExecKind.NEW, ExecKind.CHANGED, ExecKind.CANCELLED})


class Channel(Protocol):
    """Where a session's frames go while its member is connected."""

    def put(self, frame: bytes, *, delay_ms: int = 0) -> None: ...

    def cut(self) -> None: ...


class Session:
    """One session id: its numbers and its memory. keeps: it was logged out, and what works of it stays."""

    def __init__(self, name: str, account: str, *, history_max: int) -> None:
        self.name = name
        self.account = account
        self.expected_seq = 1
        self.out_seq = 0
        self.role = Role.TRADE
        self.cancel_on_disconnect = False
        self.keep_on_logout = False
        self.keeps = False
        self.channel: Channel | None = None
        self._history: deque[tuple[int, bytes]] = deque(maxlen=history_max)

    @property
    def first_seq(self) -> int:
        """The first number that can still be sent again."""
        return self._history[0][0] if self._history else self.out_seq + 1

    def emit(self, message: msgspec.Struct, *, delay_ms: int = 0, lost: bool = False) -> int:
        """Number a message, keep it and send it, if anyone is there and it is not `lost` on the way; its number."""
        self.out_seq += 1
        data = frame(self.out_seq, _ENCODE(message))
        self._history.append((self.out_seq, data))
        if self.channel is not None and not lost:
            self.channel.put(data, delay_ms=delay_ms)
        return self.out_seq

    def notice(self, code: Code, *, ref_seq: int = 0, text: str = "") -> None:
        """Tell the member, outside the numbers, about a message that was not taken."""
        if self.channel is not None:
            self.channel.put(frame(0, _ENCODE(Notice(code=code, ref_seq=ref_seq, text=text))))

    def resend(self, first: int, last: int) -> None:
        """Send old messages again under their old numbers."""
        if self.channel is not None:
            for seq, data in self._history:
                if first <= seq <= last:
                    self.channel.put(data)

    def log_out(self, working: int) -> None:
        """The member leaves in order, with so many orders at work."""
        self.keeps = self.keep_on_logout or not self.cancel_on_disconnect
        if self.channel is not None:
            self.channel.put(frame(0, _ENCODE(LoggedOut(kept=working if self.keeps else 0))))

    def beat(self) -> bytes:
        """A heartbeat frame with the last number given."""
        return frame(0, _ENCODE(Heartbeat(last_seq=self.out_seq)))


class Sessions:
    """All sessions of order entry. keep_on_logout: whether one may have its orders kept when it logs out."""

    def __init__(self, venue: str, members: Members, faults: Faults, *, history_max: int, keep_on_logout: bool) -> None:
        self.by_name: dict[str, Session] = {}
        self._venue = venue
        self._members = members
        self._faults = faults
        self._history_max = history_max
        self._keep_on_logout = keep_on_logout

    def logon(self, logon: Logon, channel: Channel, now_ns: int) -> Session | LogonRefused:
        """Bind a connection to its session: the LoggedOn and what is to be sent again are queued on `channel`."""
        refusal = self._members.refusal(session=logon.session, account=logon.account, time_ns=logon.time_ns, proof=logon.proof)
        if refusal is not None:
            return LogonRefused(code=refusal[0], text=refusal[1])
        if logon.keep_on_logout and not self._keep_on_logout:
            return LogonRefused(code=Code.NOT_ALLOWED, text="no order is kept over a logout here")
        session = self.by_name.get(logon.session)
        if session is not None and session.account != logon.account:
            return LogonRefused(code=Code.NOT_ALLOWED, text=f"session {logon.session} is another account's")
        if session is not None and session.channel is not None:
            return LogonRefused(code=Code.SESSION_IN_USE, text=f"session {logon.session} is connected")
        if session is None:
            session = self.by_name[logon.session] = Session(logon.session, logon.account, history_max=self._history_max)
        session.channel, session.role, session.keeps = channel, logon.role, False
        session.cancel_on_disconnect, session.keep_on_logout = logon.cancel_on_disconnect, logon.keep_on_logout
        answer = LoggedOn(
            session=session.name,
            venue=self._venue,
            expected_seq=session.expected_seq,
            last_seq=session.out_seq,
            first_seq=session.first_seq,
            venue_ns=now_ns,
        )
        channel.put(frame(0, _ENCODE(answer)))
        if logon.last_seq >= 0:
            session.resend(logon.last_seq + 1, session.out_seq)
        return session

    def take_seq(self, session: Session, seq: int) -> bool | None:
        """True: `seq` is due. False: seen before, harmless. None: one is missing before it, the session cannot go on."""
        if seq < session.expected_seq:
            return False
        if seq > session.expected_seq:
            return None
        session.expected_seq += 1
        return True

    def deliver(self, routed: Routed) -> int | None:
        """Send a message to its session, connected or not; its number, None when a fault swallowed it."""
        session = self.by_name.get(routed.session)
        if session is None:
            return None
        message, account = routed.message, routed.account
        host = message.tags.host if isinstance(message, ExecutionReport) else ""
        lost = False
        if isinstance(message, ExecutionReport) and message.kind in _ACKS:
            if self._faults.strike(FaultKind.DROP_ACK, account=account, host=host, symbol=message.symbol):
                return None
            lost = self._faults.strike(FaultKind.GAP_ACK, account=account, host=host, symbol=message.symbol) is not None
        delay = self._faults.strike(FaultKind.DELAY, account=account, host=host)
        return session.emit(message, delay_ms=delay.delay_ms if delay else 0, lost=lost)

    def handle_resend(self, session: Session, request: Resend) -> None:
        """Answer a member that misses messages."""
        if request.first < session.first_seq:
            session.notice(Code.BAD_SEQUENCE, text=f"messages before {session.first_seq} are no longer kept")
        session.resend(request.first, request.last)
