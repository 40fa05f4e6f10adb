"""Composition root of the trading daemon: reads what it was given, wires the rooms, runs the loop, drains when told to stop."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tradeops.base.clock import Clock, SystemClock
from tradeops.base.errors import ExitCode, TradeopsError, UsageError
from tradeops.base.logs import configure, event
from tradeops.contracts.identity import Identity
from tradeops.contracts.layout import HostLayout
from tradeops.trader.assembly import Rooms, assemble
from tradeops.trader.config import TraderConfig, load_config
from tradeops.trader.heart import Heart
from tradeops.trader.journal import Journal
from tradeops.trader.mandate import Mandate, load_mandate
from tradeops.trader.telemetry import start_ticks
from tradeops.trader.tenure import held
from tradeops.trader.vigil import LOOK_S, Vigil

_LOG = logging.getLogger("trader")
CONFIG = Path("config/trader.yml")
"""Inside the release's tree, which is the working folder."""


@dataclass(frozen=True)
class Place:
    """Where this process stands: what the start stub put into the environment."""

    layout: HostLayout
    slot: str
    release: str
    binding: str

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Place:
        """Raises UsageError when the root or the slot is not named."""
        missing = [name for name in ("TRADEOPS_ROOT", "TRADEOPS_SLOT") if not environ.get(name)]
        if missing:
            raise UsageError(f"{' and '.join(missing)} not set", next="start it through bin/tradeops-start, which sets them")
        layout = HostLayout(Path(environ["TRADEOPS_ROOT"]))
        return cls(layout, environ["TRADEOPS_SLOT"], environ.get("TRADEOPS_RELEASE", ""), environ.get("TRADEOPS_BINDING", ""))


def main(argv: Sequence[str] | None = None) -> int:
    """The process. Returns its exit status; every error is one JSON line."""
    parser = argparse.ArgumentParser(prog="python -m tradeops.trader", description="The trading daemon of one host and slot.")
    parser.add_argument("--config", type=Path, default=CONFIG, help=f"the configuration (default: {CONFIG}, inside the release)")
    arguments = parser.parse_args(argv)
    configure()
    try:
        place = Place.of(os.environ)
        config = load_config(arguments.config)
        mandate = load_mandate(place.layout, place.slot, expected_release=place.release, expected_binding=place.binding)
        clock = SystemClock(mandate.host.clock_offset_ns)
        return _run(place, config, mandate, clock)
    except TradeopsError as error:
        said = {"what": error.what, "where": error.where, "holds": error.holds, "next": error.next}
        event(_LOG, logging.ERROR, "cannot_run", **said, exit_code=int(error.exit_code))
        return int(error.exit_code)


def _run(place: Place, config: TraderConfig, mandate: Mandate, clock: Clock) -> int:
    identity = Identity(
        service=mandate.release.service,
        release=mandate.release_id,
        binding=mandate.binding_id,
        overlay=0,
        slot=place.slot,
        pid=os.getpid(),
        start_ticks=start_ticks(),
        started_wall_ns=clock.wall_ns(),
    )
    event(_LOG, logging.INFO, "starting", release=identity.release, binding=identity.binding, slot=identity.slot, pid=identity.pid)
    token = held(place.layout.stop_page, place.slot)
    journal = None if token is None else Journal(place.layout.data, token=token)
    rooms = assemble(place.layout, config, mandate, identity, journal, clock)
    try:
        asyncio.run(_live(rooms, config, Vigil(place.layout.held_file, place.slot, rooms.tenure, clock)))
    finally:
        rooms.tenure.close()
    event(_LOG, logging.INFO, "stopped", positions=rooms.ledger.positions.quantities(), working=rooms.ledger.orders.open_count)
    return int(ExitCode.PROVED)


async def _live(rooms: Rooms, config: TraderConfig, vigil: Vigil) -> None:
    """Until a signal, or until a standby has outlived its run: then drain. An unexpected error ends it too: connections close, and with
    them the venue's day orders.
    """
    heart = Heart(rooms, look_every_s=config.gate.look_every, vitals_every_s=config.vitals_every)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    links = rooms.connect(heart)
    stopping = asyncio.create_task(stop.wait(), name="signal")
    works = [("heart", heart.run()), ("vigil", _outlive(rooms, vigil)), *((link.venue, link.run()) for link in links)]
    working = [asyncio.create_task(work, name=name) for name, work in works]
    try:
        await asyncio.wait([*working, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in working:
            if task.done():
                task.result()
        await heart.drain(config.sessions.drain)
    finally:
        for one in (*working, stopping):
            one.cancel()
        await asyncio.gather(*working, stopping, return_exceptions=True)
        for link in links:
            await link.close()
        heart.last_words()


async def _outlive(rooms: Rooms, vigil: Vigil) -> None:
    """Until there is no run any more that this process stands by for."""
    while not vigil.over(rooms.engine.verdict.words):
        await asyncio.sleep(LOOK_S)
    event(_LOG, logging.WARNING, "outlived", slot=rooms.mandate.slot)
