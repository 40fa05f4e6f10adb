"""Real processes of a venue and a trader, and a guard's hand that keeps the stop page beating."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.support.trader import SLOT, HostRoot, Permit, write_config
from tests.support.wait import until
from tradeops.base.clock import SystemClock
from tradeops.contracts.pages import Token, read_vitals
from tradeops.contracts.status import Vitals

REPO = Path(__file__).parents[2]
PYTHON_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPO)}


class VenueProcess:
    """`python -m tradeops.venue` on free ports of loopback."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self._file = folder / "venue.yml"
        self._log = folder / "venue.log"
        self.config = {"name": "sim", "accounts": [{"name": "ACC"}], "journal_file": str(folder / "venue.journal"), **config}
        self.ports: dict[str, int] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> VenueProcess:
        """Start it; on the same ports as before, if there was a before."""
        self._file.write_text(yaml.safe_dump({**self.config, "ports": self.ports} if self.ports else self.config))
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tradeops.venue", "--config", str(self._file)],
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=REPO,
                env=PYTHON_ENVIRONMENT,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.process.stdout.close()
        assert line, self._log.read_text()
        self.ports = json.loads(line)["ports"]
        return self

    @property
    def doors(self) -> tuple[int, int, int]:
        """Ports of order entry, market data, drop copy."""
        return self.ports["orders"], self.ports["market_data"], self.ports["drop_copy"]

    def ask(self, path: str, body: object = None, method: str | None = None) -> Any:
        """The control page's answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports['control']}{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    def orders(self, **wanted: str) -> list[dict[str, Any]]:
        """What the venue knows of this host's orders."""
        query = "&".join(f"{key}={value}" for key, value in {"host": "host-1", **wanted}.items())
        orders: list[dict[str, Any]] = self.ask(f"/v1/orders?{query}")["orders"]
        return orders

    def working(self) -> int:
        """How many of this host's orders work at the venue."""
        return len(self.orders(state="working"))

    def stop(self) -> None:
        """End it."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)


class GuardHand:
    """Beats the stop page of a host from a thread, until `silence` or the page is gone."""

    def __init__(self, host: HostRoot) -> None:
        self._clock = SystemClock()
        self.permit = Permit(host.layout, self._clock)
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def say(self, may_send: bool) -> None:
        """Say something new."""
        with self._lock:
            self.permit.say(may_send)

    def activate(self, slot: str, number: int, *, keep_orders: bool = False) -> None:
        """Give the token to a slot, or to none."""
        with self._lock:
            self.permit.token = Token(number, slot)
            self.permit.say(bool(slot), keep_orders=keep_orders)

    def silence(self) -> None:
        """No further beat."""
        self._end.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._end.wait(0.05):
            with self._lock:
                self.permit.beat()


class TraderProcess:
    """`python -m tradeops.trader` on a host's folder, as the start stub would run it."""

    def __init__(self, host: HostRoot, slot: str = SLOT, /, **config: Any) -> None:
        self.host = host
        self.slot = slot
        self.log = host.root / f"trader-{slot}.log"
        self.config = write_config(host.root / "trader.yml", **config)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **environment: str) -> TraderProcess:
        """Start it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tradeops.trader", "--config", str(self.config)],
                stdout=log,
                stderr=log,
                cwd=REPO,
                env={**PYTHON_ENVIRONMENT, "TRADEOPS_ROOT": str(self.host.root), "TRADEOPS_SLOT": self.slot, **environment},
            )
        return self

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None
        return self.process.pid

    def vitals(self) -> Vitals | None:
        """What this very process last said."""
        vitals = read_vitals(self.host.layout.vitals_page(self.slot))
        return vitals if vitals is not None and vitals.identity.pid == self.pid else None

    def when(self, holds: Callable[[Vitals], bool], timeout_s: float = 60) -> Vitals:
        """The first vitals for which this holds; the log is in the error when there are none."""

        def _seen() -> Vitals | None:
            assert self.process is not None and self.process.poll() is None, self.log.read_text()
            vitals = self.vitals()
            return vitals if vitals is not None and holds(vitals) else None

        try:
            found = until(_seen, timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.vitals()}\n{self.log.read_text()[-3000:]}") from None
        assert found is not None
        return found

    def events(self, name: str) -> list[dict[str, Any]]:
        """Its log's lines of one kind."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, timeout_s: float = 60) -> int:
        """Its exit status."""
        assert self.process is not None
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """End it without a word."""
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.process.wait(10)
