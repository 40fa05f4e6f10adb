"""supervisord through XML-RPC on its own socket (supervisorctl costs a process and 150 ms)."""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from typing import Any
from xml.parsers.expat import ExpatError

from .units import ACTIVE, CHANGING, FAILED, INACTIVE, UnitState, unit_error

_WORDS = {
    "RUNNING": ACTIVE,
    "STOPPED": INACTIVE,
    "EXITED": INACTIVE,
    "FATAL": FAILED,
    "BACKOFF": CHANGING,
    "STARTING": CHANGING,
    "STOPPING": CHANGING,
}
_TIMEOUT_S = 15.0
_NOT_RUNNING = 70
_ALREADY_STARTED = 60


class Supervisord:
    """The supervisord behind one socket. See units.Manager."""

    def __init__(self, path: str) -> None:
        self._path = path

    def states(self, *units: str) -> dict[str, UnitState]:
        shown = {unit: self._call(unit, "getProcessInfo", unit) for unit in units}
        return {unit: UnitState(_WORDS.get(str(info["statename"]), CHANGING), int(info["pid"]) or None) for unit, info in shown.items()}

    def start(self, unit: str) -> None:
        self._call(unit, "startProcess", unit, False, tolerate=_ALREADY_STARTED)

    def stop(self, unit: str) -> None:
        self._call(unit, "stopProcess", unit, False, tolerate=_NOT_RUNNING)

    def kill(self, unit: str) -> None:
        self._call(unit, "signalProcessGroup", unit, "KILL", tolerate=_NOT_RUNNING)
        self._call(unit, "stopProcess", unit, False, tolerate=_NOT_RUNNING)

    def restart(self, unit: str) -> None:
        self._call(unit, "stopProcess", unit, True, tolerate=_NOT_RUNNING)
        self._call(unit, "startProcess", unit, True)

    def _call(self, unit: str, method: str, *args: Any, tolerate: int | None = None) -> Any:
        proxy = xmlrpc.client.ServerProxy("http://localhost", transport=_Transport(self._path))
        try:
            return getattr(proxy.supervisor, method)(*args)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == tolerate:
                return None
            raise unit_error(unit, f"supervisord: {fault.faultString}") from None
        except (OSError, http.client.HTTPException, xmlrpc.client.Error, ExpatError) as error:
            raise unit_error(unit, f"supervisord does not answer on {self._path}: {error}") from None
        finally:
            proxy("close")()


class _Transport(xmlrpc.client.Transport):
    """XML-RPC over a Unix socket, with a bound on silence."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _UnixConnection(self._path)
        self._connection = host, connection  # what `close` closes
        return connection


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(self._path)
