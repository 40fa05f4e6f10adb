"""supervisord as the service manager of a local host: its configuration, and the few calls faults make."""

from __future__ import annotations

import http.client
import signal
import socket
import xmlrpc.client
from pathlib import Path
from typing import Any

from tradeops.contracts.layout import SLOTS, HostLayout
from tradeops.lab.errors import LabError
from tradeops.lab.local.config import HOST_MARK, LocalHost, enrolled

GUARD = "guard"
_TIMEOUT_S = 10.0

_TEMPLATE = """\
[unix_http_server]
file = {socket}
chmod = 0600

[supervisord]
logfile = {logs}/supervisord.log
logfile_maxbytes = 1MB
logfile_backups = 0
pidfile = {run}/supervisord.pid
childlogdir = {logs}
directory = {folder}
environment = {mark}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[program:guard]
command = {guard}
autostart = {enrolled}
autorestart = unexpected
startretries = 3
startsecs = 0
stopwaitsecs = 5
killasgroup = true
redirect_stderr = true
stdout_logfile = {logs}/guard.log
stdout_logfile_maxbytes = 5MB
stdout_logfile_backups = 1
"""

_SLOT = """
[program:{program}]
command = {command}
autostart = false
autorestart = false
startsecs = 0
stopwaitsecs = 10
killasgroup = true
redirect_stderr = true
stdout_logfile = {logs}/{program}.log
stdout_logfile_maxbytes = 5MB
stdout_logfile_backups = 1
"""


def program(service: str, slot: str) -> str:
    """The program of a slot, as fleet.inventory names it."""
    return f"{service}-{slot}"


def configuration(host: LocalHost) -> str:
    """supervisord.conf. The guard starts by itself once the host is enrolled, as a systemd unit would."""
    layout = HostLayout(Path(host.root))
    logs = Path(host.folder) / "logs"
    guard = [host.interpreter, "-I", "-B", str(layout.platform / "guard.py"), "--root", host.root]
    text = _TEMPLATE.format(
        socket=escaped(str(host.supervisor_socket)),
        run=escaped(host.run),
        logs=escaped(str(logs)),
        folder=escaped(host.folder),
        mark=f'{HOST_MARK}="{host.mark}"',
        guard=_command(guard),
        enrolled=str(enrolled(layout.root)).lower(),
    )
    for slot in SLOTS:
        start = [host.interpreter, "-I", "-B", str(layout.root / "bin" / "tradeops-start"), slot]
        text += _SLOT.format(program=program(host.service, slot), command=_command(start), logs=escaped(str(logs)))
    return text


def escaped(text: str) -> str:
    """A value as supervisord reads it: % begins a variable, ` ;` a comment. Raises LabError."""
    if "\n" in text or " ;" in text:
        raise LabError(f"{text!r} cannot stand in supervisord's configuration", next="choose another folder")
    return text.replace("%", "%%")


def _command(argv: list[str]) -> str:
    return escaped(" ".join(f'"{part}"' if " " in part else part for part in argv))


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_TIMEOUT_S)
        try:
            self.sock.connect(self._path)
        except OSError:
            self.sock.close()
            raise


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _UnixConnection(self._path)
        self._connection = (host, connection)  # where Transport.close looks for it
        return connection


class Manager:
    """A running supervisord. Every method raises LabError when it does not answer or refuses."""

    def __init__(self, where: str, socket_path: Path) -> None:
        self._where = where
        self._socket = str(socket_path)

    def pid(self, name: str) -> int | None:
        """Of the program's process; None when it has none."""
        info: Any = self._call("getProcessInfo", name)
        return info["pid"] or None

    def start(self, name: str) -> None:
        """Start a program."""
        self._call("startProcess", name, True)

    def stop(self, name: str, *, wait: bool = True) -> None:
        """Stop a program."""
        self._call("stopProcess", name, wait)

    def signal(self, name: str, number: signal.Signals) -> None:
        """To the whole process group of the program."""
        self._call("signalProcessGroup", name, number.name.removeprefix("SIG"))

    def answers(self) -> bool:
        """Whether it is up."""
        try:
            self._call("getState")
        except LabError:
            return False
        return True

    def _call(self, method: str, *args: Any) -> Any:
        try:
            with xmlrpc.client.ServerProxy("http://localhost", transport=_UnixTransport(self._socket)) as server:
                return getattr(server.supervisor, method)(*args)
        except xmlrpc.client.Fault as error:
            raise LabError(f"supervisord refuses {method}: {error.faultString}", where=self._where) from None
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
            raise LabError(f"supervisord does not answer: {error}", where=self._where) from None
