"""Power Peg itself: it runs from a release's tree, trades at the venue without a gate, and ends by itself in the end."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec

from tests.support.venue import COIN, VenueUnderTest, run, running
from tradeops.contracts.binding import BINDING_SCHEMA, Binding, Instrument, Venue
from tradeops.contracts.codec import encode
from tradeops.contracts.envelope import Envelope
from tradeops.lab.powerpeg import FIRST_CHILD, argv

RELEASE = "ab" * 32


def host_root(root: Path, venue: VenueUnderTest) -> Path:
    """A host's root with the binding of its slot; the tree of an old release in it, whose libraries are ours."""
    places = Venue("sim", venue.url("orders"), "", "", "acc-1")
    stock = Instrument("ABC", COIN // 100, COIN, 100 * COIN, 1)
    binding = Binding(BINDING_SCHEMA, "lab", "lab", "h8", "trader", (places,), (stock,), {})
    (root / "slots" / "blue").mkdir(parents=True)
    (root / "slots" / "blue" / "binding.json").write_bytes(msgspec.json.encode(Envelope.of(encode(binding))))
    tree = root / "releases" / RELEASE / "tree"
    tree.mkdir(parents=True)
    (tree / "lib").symlink_to(Path(__file__).parents[3])
    return tree


def test_it_sends_children_without_end_and_names_their_host(tmp_path: Path) -> None:
    """So many for each parent as it can, with the tags by which a guard counts them; fills are heard of and change nothing."""

    async def story() -> None:
        async with running() as venue:
            tree = host_root(tmp_path, venue)
            settings = {"parents": 3, "orders": 60}
            words = argv(sys.executable, root=str(tmp_path), slot="blue", tree=str(tree), host="h8", settings=settings)
            process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
            out, err = await asyncio.wait_for(process.communicate(), 30)
            assert process.returncode == 0, err.decode()
            assert out.decode().startswith(FIRST_CHILD)
            orders: list[dict[str, Any]] = (await venue.control("GET", "/v1/orders"))["orders"]
            children = [one for one in orders if one["tags"]["strategy"] == "power-peg"]
            assert len(children) == 60
            assert {(one["tags"]["host"], one["tags"]["release"]) for one in children} == {("h8", f"sha256:{RELEASE}")}

    run(story())
