"""Power Peg, 1 August 2012: old code still on one server sends child orders without end, since nobody tells it of fills.

It runs from the tree of a release with that tree's own libraries, and knows neither gate nor stop page. What it can reach is
the lab's own venue; it ends by itself after so many orders.
"""

from __future__ import annotations

from collections.abc import Mapping

PROGRAM = '''
import asyncio, base64, json, sys, time

root, slot, tree, host, parents, most = *sys.argv[1:5], int(sys.argv[5]), int(sys.argv[6])
sys.path.insert(0, tree + "/lib")

from tradeops.base.clock import SystemClock
from tradeops.wire.link import Queued
from tradeops.wire.session import OrderSession, SessionConfig

with open(f"{root}/slots/{slot}/binding.json") as file:
    binding = json.loads(base64.b64decode(json.load(file)["payload"]))
venue, stocks = binding["venues"][0], binding["instruments"]
tags = {"strategy": "power-peg", "release": "sha256:" + tree.split("/")[-2], "host": host, "desk": "smars"}
filled = {}


async def another_component(session):
    """It hears of every fill. Nobody ever moved the counting back to where children are sent."""
    while True:
        message = (await session.receive()).message
        filled[getattr(message, "client_id", "")] = True


async def children(session):
    """For each parent one more child, and again, and again."""
    sent, began_ns = 0, time.time_ns()
    while sent < most:
        for parent in range(parents):
            stock = stocks[parent % len(stocks)]
            child = {
                "t": "new", "client_id": f"{host}-{began_ns}-{sent}", "symbol": stock["symbol"], "side": ("buy", "sell")[parent % 2],
                "qty": stock["lot"], "price": stock["reference_price"], "tags": tags, "tif": "ioc",
            }
            session.transmit(Queued(json.dumps(child).encode()))
            sent += 1
            if sent == 1:
                print(f"first child at {time.time_ns()}", flush=True)
        while session.send_queue > 100_000:
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.018)


async def main():
    session = OrderSession(SessionConfig(venue["order_entry"], host + "-smars", venue["account"]), SystemClock())
    await session.connect()
    hearing = asyncio.create_task(another_component(session))
    await children(session)
    hearing.cancel()


asyncio.run(main())
'''
FIRST_CHILD = "first child at "
ORDERS_MAX = 20_000


def argv(interpreter: str, *, root: str, slot: str, tree: str, host: str, settings: Mapping[str, int]) -> list[str]:
    """Its command line. settings: parents, orders."""
    return [interpreter, "-I", "-c", PROGRAM, root, slot, tree, host, str(settings["parents"]), str(settings["orders"])]
