"""Keeps a service that is not ours, which has no gate and writes no vitals: the stop page ends it, and what it says of itself is passed on.

The start stub forks the keeper and then becomes the service, so the keeper runs as the service's user, in its unit, below its main
process; the kernel ends it when that process ends.
"""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import signal
import sys
import threading
from typing import Any

from . import processes, vitals
from .clock import NS_PER_S, Clock
from .errors import SERVICE, AgentError
from .hostfile import Context
from .manifest import Manifest

SILENT_S = 10.0
"""A guard that says nothing for longer ends the service (ours). Longer than our trader's patience: that one can go on afterwards."""
_LOOK_S = 0.02
_ASK_S = 0.25
_ANSWER_S = 2.0
_ANSWER_BYTES_MAX = 64 << 10
_GRACE_S = 0.2
_PR_SET_PDEATHSIG = 1
_SAID = {"release": str, "binding": str, "slot": str, "pid": int}


def check(context: Context, manifest: Manifest) -> bool:
    """Whether the release is kept so, and may start now. Raises AgentError (service)."""
    kept = manifest.start.get("identity", "vitals") != "vitals"
    if kept != (context.host.identity == "url"):
        said = f"the release tells what it is by {manifest.start.get('identity')!r}, this host was enrolled for {context.host.identity!r}"
        raise AgentError(SERVICE, said, next="correct `service.identity` in the fleet file and enrol the host again, or the release")
    if kept and not permitted(context):
        raise AgentError(SERVICE, "this host has no permit or bears a mark, and the service has no gate of its own", next="permit it first")
    return bool(kept)


def permitted(context: Context) -> bool:
    """Whether the stop page lets the service run now."""
    return vitals.permits(context.layout.stop_page, context.clock.monotonic_ns(), int(SILENT_S * NS_PER_S))


def fork(context: Context, slot: str, manifest: Manifest) -> None:
    """Start the keeper of this process, which goes on and becomes the service. Raises OSError."""
    service = os.getpid()
    if os.fork():
        return
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() == service:
            Keeper(context, slot, manifest, service).run()
    finally:
        os._exit(1)  # never back into the stub: that is the service's process now


class Keeper:
    """service: pid of the main process."""

    def __init__(self, context: Context, slot: str, manifest: Manifest, service: int) -> None:
        self._context = context
        self._slot = slot
        self._manifest = manifest
        self._service = service
        self._start = manifest.start

    def run(self) -> None:
        """Until the service has ended."""
        threading.Thread(target=self._pass_on, daemon=True).start()
        while permitted(self._context):
            self._context.clock.sleep_s(_LOOK_S)
        self.end()

    def end(self) -> None:
        """SIGTERM, and very soon SIGKILL to its whole group, the keeper with it."""
        sys.stderr.write("tradeops: the stop page stops this host; the service is ended\n")
        sys.stderr.flush()
        os.kill(self._service, signal.SIGTERM)
        self._context.clock.sleep_s(_GRACE_S)
        os.killpg(os.getpgid(self._service), signal.SIGKILL)

    def _pass_on(self) -> None:
        """What the service says of itself, as vitals; what it does not say, or says wrong, is not made up."""
        page, told = self._context.layout.vitals_page(self._slot), ""
        while True:
            try:
                vitals.write_vitals(page, self.said())
                problem = ""
            except (AgentError, OSError, ValueError, http.client.HTTPException) as error:
                problem = f"tradeops: the service does not say what it is: {error}\n"
            if problem != told:
                sys.stderr.write(problem)
                sys.stderr.flush()
                told = problem
            self._context.clock.sleep_s(_ASK_S)

    def said(self) -> dict[str, Any]:
        """What the service says of itself now, as contracts.status.Vitals. Raises AgentError, OSError, ValueError, HTTPException."""
        identity = identity_of(json.loads(self._get(str(self._start["identity"]))), self._manifest.service, self._context.clock)
        health = str(self._start.get("health") or "vitals")
        if health != "vitals":
            self._get(health)
        names = ("sessions", "feed_age_ns", "positions", "counters", "gauges", "histograms", "limits")
        return {
            "identity": identity,
            "beat_ns": self._context.clock.monotonic_ns(),
            "state": "ready",
            "ack_epoch": 0,  # it acknowledges nothing: only its end blocks it
            "ack_latch": 0,
            "send_queue": 0,
            "working": 0,
            **{name: {} for name in names},
        }

    def _get(self, path: str) -> bytes:
        address, port = endpoint(self._context, self._start)
        connection = http.client.HTTPConnection("127.0.0.1" if address == "0.0.0.0" else address, port, timeout=_ANSWER_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read(_ANSWER_BYTES_MAX)
            if answer.status != http.client.OK:
                raise AgentError(SERVICE, f"{path} answers {answer.status}")
            return body
        finally:
            connection.close()


def endpoint(context: Context, start: dict[str, Any]) -> tuple[str, int]:
    """Where the service is to listen: on the address where the guard listens, at the port that the release names."""
    return context.host.control_address, int(start.get("port") or 0)


def identity_of(said: Any, service: str, clock: Clock) -> dict[str, Any]:
    """contracts.identity.Identity from what a service says: release, binding, slot, pid. Raises AgentError."""
    if not isinstance(said, dict) or any(type(said.get(name)) is not kind for name, kind in _SAID.items()):
        raise AgentError(SERVICE, f"its identity is not an object with {', '.join(_SAID)}")
    process = processes.read(said["pid"], clock)
    if process is None:
        raise AgentError(SERVICE, f"it says it is process {said['pid']}, which is not there")
    return {
        **{name: said[name] for name in _SAID},
        "service": service,
        "overlay": 0,
        "start_ticks": process.start_ticks,
        "started_wall_ns": process.started_wall_ns,
        "flags": {},
    }
