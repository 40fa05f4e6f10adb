"""Traffic over HAProxy's runtime API: one command a connection, bounded, with a deadline, and every change read back.

Source: HAProxy's management guide, "Unix Socket commands": `show servers state`, `show stat`, `set server`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.base.errors import OutcomeUnknown, PreflightFailed, Unreachable
from tradeops.fleet.share import Mode, Share, weight_of

ANSWER_BYTES_MAX = 4 << 20
VERSION_MIN = (2, 0)
_SERVERS = 4
"""The type `server` of `show stat`."""
_STATE_FORMAT = "1"
_RUNNING = "2"
_MAINT, _DRAIN = 0x01 | 0x02 | 0x04 | 0x20 | 0x40, 0x08 | 0x10
"""Bits of srv_admin_state: forced, inherited, configured, by resolution, by name; forced and inherited drain."""
_REFUSALS = ("No such", "Can't find", "Permission denied", "Unknown command")


@dataclass(frozen=True)
class Haproxy:
    """The fleet's proxies. proxies: each a path of a stats socket, or address:port.  servers: host -> its name there."""

    proxies: tuple[str, ...]
    backend: str
    servers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 3.0


class HaproxyTraffic:
    """fleet.ports.Traffic."""

    def __init__(self, haproxy: Haproxy, clock: Clock) -> None:
        self._haproxy = haproxy
        self._clock = clock
        self._greeted: set[str] = set()

    def read(self, hosts: Sequence[str]) -> tuple[Share, ...]:
        return tuple(share for proxy in self._haproxy.proxies for share in self._read(proxy, hosts))

    def drain(self, hosts: Sequence[str]) -> None:
        self._change(hosts, lambda _: "state drain", lambda share: share.mode is Mode.DRAIN)

    def ready(self, hosts: Sequence[str]) -> None:
        self._change(hosts, lambda _: "state ready", lambda share: share.mode is Mode.READY)

    def weigh(self, hosts: Sequence[str], percent: int) -> None:
        def wanted(share: Share) -> int:
            try:
                return weight_of(share.full, percent)
            except ValueError as error:
                raise PreflightFailed(
                    f"{share.host}: {error}", where=share.proxy, next="give every server a weight of 100 in the proxy's configuration"
                ) from None

        self._change(hosts, lambda share: f"weight {wanted(share)}", lambda share: share.weight == wanted(share))

    def _change(self, hosts: Sequence[str], words: Callable[[Share], str], holds: Callable[[Share], bool]) -> None:
        """Tell every proxy what it does not hold yet, and read it back; a lost answer is read back, never sent again."""
        before = [share for share in self.read(hosts) if share.mode is not Mode.MAINT]
        told = [(share, words(share)) for share in before if not holds(share)]
        lost = ""
        for share, word in told:
            try:
                self._tell(share, word)
            except OutcomeUnknown as unknown:
                lost = f": {unknown.what}"
        for share, word in told:
            after = next(iter(self._read(share.proxy, [share.host])))
            if not holds(after):
                said = f"{share.host} was set to `{word}`, and is {after.mode} with weight {after.weight}{lost}"
                raise OutcomeUnknown(said, where=share.proxy, next="look at the proxy: `show servers state`")

    def _tell(self, share: Share, word: str) -> None:
        answer = self._ask(share.proxy, f"set server {self._haproxy.backend}/{self._server(share.host)} {word}")
        if answer.strip():
            raise PreflightFailed(f"refused `{word}` for {share.host}: {_first_line(answer)}", where=share.proxy)

    def _server(self, host: str) -> str:
        return self._haproxy.servers.get(host, host)

    def _read(self, proxy: str, hosts: Sequence[str]) -> Iterator[Share]:
        """Raises PreflightFailed when a host is not there, or when what is said does not add up."""
        self._greet(proxy)
        backend = self._haproxy.backend
        states = _states(proxy, self._ask(proxy, f"show servers state {backend}"))
        stats = _stats(proxy, self._ask(proxy, f"show stat {backend} {_SERVERS} -1"))
        for host in hosts:
            server = self._server(host)
            if server not in states or server not in stats:
                raise PreflightFailed(
                    f"its backend {backend} has no server {server} for {host}",
                    where=proxy,
                    next="name it under service.traffic.servers, or add it to the proxy",
                )
            yield _share(proxy, host, states[server], stats[server])

    def _greet(self, proxy: str) -> None:
        """Once for each proxy: is it HAProxy, new enough, and may we change anything there?"""
        if proxy in self._greeted:
            return
        info = dict(line.split(": ", 1) for line in self._ask(proxy, "show info").splitlines() if ": " in line)
        version = info.get("Version", "")
        if info.get("Name") != "HAProxy" or not version:
            raise PreflightFailed("does not answer as HAProxy does", where=proxy, next="name its stats socket")
        if _number(version) < VERSION_MIN:
            wanted = ".".join(map(str, VERSION_MIN))
            raise PreflightFailed(f"is HAProxy {version}, {wanted} or later is needed", where=proxy, next="upgrade the proxy")
        level = self._ask(proxy, "show cli level").strip()
        if level != "admin":
            raise PreflightFailed(
                f"its socket has the level {level or 'nothing'}, which changes nothing",
                where=proxy,
                next="write `level admin` behind `stats socket` in its configuration",
            )
        self._greeted.add(proxy)

    def _ask(self, proxy: str, command: str) -> str:
        """One command, the whole answer. Raises Unreachable (not sent), OutcomeUnknown (no whole answer), PreflightFailed (a no)."""
        until_ns = self._clock.monotonic_ns() + int(self._haproxy.timeout_s * NS_PER_S)
        with self._connect(proxy) as connection:
            try:
                connection.sendall(command.encode() + b"\n")
                answer = self._receive(connection, until_ns)
            except OSError as error:
                raise OutcomeUnknown(f"did not answer `{command}`: {error}", where=proxy) from None
        if not answer.endswith(b"\n") or len(answer) > ANSWER_BYTES_MAX:
            raise OutcomeUnknown(f"did not answer `{command}` in full: {len(answer)} bytes", where=proxy)
        text = answer.decode(errors="replace")
        if text.startswith(_REFUSALS):
            raise PreflightFailed(
                f"said no to `{command}`: {_first_line(text)}", where=proxy, next="compare service.traffic with its configuration"
            )
        return text

    def _connect(self, proxy: str) -> socket.socket:
        path = proxy.startswith("/")
        connection = socket.socket(socket.AF_UNIX) if path else None
        try:
            if connection is None:
                return socket.create_connection(_address(proxy), timeout=self._haproxy.timeout_s)
            connection.settimeout(self._haproxy.timeout_s)
            connection.connect(proxy)
            return connection
        except OSError as error:
            if connection is not None:
                connection.close()
            raise Unreachable(
                f"the proxy cannot be reached: {error}", where=proxy, next="see that it runs and that its stats socket is there"
            ) from None

    def _receive(self, connection: socket.socket, until_ns: int) -> bytes:
        """Until the proxy closes. Raises OSError."""
        answer = bytearray()
        while len(answer) <= ANSWER_BYTES_MAX:
            left_ns = until_ns - self._clock.monotonic_ns()
            if left_ns <= 0:
                raise TimeoutError(f"not within {self._haproxy.timeout_s:g} s")
            connection.settimeout(left_ns / NS_PER_S)
            part = connection.recv(1 << 16)
            if not part:
                break
            answer += part
        return bytes(answer)


def _states(proxy: str, text: str) -> dict[str, dict[str, str]]:
    """`show servers state`: server -> its fields."""
    lines = text.split("\n")
    if lines[0] != _STATE_FORMAT or not lines[1:2] or not lines[1].startswith("# "):
        raise PreflightFailed(f"tells the state of its servers in a format that is not known: {_first_line(text)}", where=proxy)
    return _rows(proxy, lines[1].removeprefix("# ").split(" "), (line.split(" ") for line in lines[2:] if line), "srv_name")


def _stats(proxy: str, text: str) -> dict[str, dict[str, str]]:
    """`show stat`: server -> its fields."""
    lines = text.split("\n")
    if not lines[0].startswith("# "):
        raise PreflightFailed(f"tells its statistics in a format that is not known: {_first_line(text)}", where=proxy)
    return _rows(proxy, lines[0].removeprefix("# ").split(","), (line.split(",") for line in lines[1:] if line), "svname")


def _rows(proxy: str, names: list[str], rows: Iterator[list[str]], key: str) -> dict[str, dict[str, str]]:
    found = {}
    for row in rows:
        if len(row) != len(names) or key not in names:
            raise PreflightFailed("answered with a row that is not whole", where=proxy)
        fields = dict(zip(names, row, strict=True))
        found[fields[key]] = fields
    return found


def _share(proxy: str, host: str, state: dict[str, str], stat: dict[str, str]) -> Share:
    try:
        admin = int(state["srv_admin_state"])
        mode = Mode.MAINT if admin & _MAINT else Mode.DRAIN if admin & _DRAIN else Mode.READY
        sessions = int(stat["scur"]) + int(stat["qcur"] or 0)
        up = state["srv_op_state"] == _RUNNING
        return Share(proxy, host, mode, int(state["srv_uweight"]), int(state["srv_iweight"]), up, sessions)
    except (KeyError, ValueError) as error:
        raise PreflightFailed(f"what it says of {host} cannot be read: {error}", where=proxy) from None


def _address(proxy: str) -> tuple[str, int]:
    host, _, port = proxy.rpartition(":")
    return host.strip("[]"), int(port)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("-", maxsplit=1)[0].split(".")[:2] if part.isdecimal())


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0][:200]
