"""`python -m tradeops.venue --config FILE`: run the venue until SIGTERM; the first line on stdout names its ports."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tradeops.base import logs
from tradeops.base.clock import Clock, SystemClock
from tradeops.base.config import load_yaml
from tradeops.base.errors import TradeopsError
from tradeops.venue.config import VenueConfig
from tradeops.venue.server import Venue

_LOG = logging.getLogger("venue")


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tradeops.venue", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="YAML or JSON; see tradeops/venue/config.py")
    options = parser.parse_args(argv)
    logs.configure()
    try:
        config = load_yaml(options.config, VenueConfig)
        asyncio.run(serve(config, SystemClock()))
    except TradeopsError as error:
        logs.event(_LOG, logging.ERROR, "the venue ended", error=str(error), next=error.next)
        return int(error.exit_code)
    return 0


async def serve(config: VenueConfig, clock: Clock) -> None:
    """Start, say so on stdout, and run until SIGTERM or SIGINT. Raises ConfigError."""
    venue = Venue(config, clock)
    ports = await venue.start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    sys.stdout.write(json.dumps({"ready": True, "venue": config.name, "ports": ports}) + "\n")
    sys.stdout.flush()
    feed = asyncio.create_task(venue.run_feed())
    waiting = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({feed, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if feed.done():
            feed.result()
    finally:
        for task in (feed, waiting):
            task.cancel()
        await asyncio.gather(feed, waiting, return_exceptions=True)
        await venue.close()


if __name__ == "__main__":
    sys.exit(main())
