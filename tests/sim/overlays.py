"""Somebody tightens while a run is on: the overlay comes to the hosts from this machine, or from one that the run knows nothing of."""

from __future__ import annotations

import msgspec

from tests.sim.world import World
from tests.support.people import signed
from tradeops.contracts.binding import OVERLAY_SCHEMA, Overlay
from tradeops.contracts.directive import ALL_HOSTS, SCHEMA, Directive, Verb
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.signature import Signer


def carried(overlay: Overlay, *signers: Signer) -> Envelope:
    """The directive that carries an overlay."""
    said = {"overlay": msgspec.to_builtins(overlay)}
    directive = Directive(SCHEMA, f"v{overlay.number}", Verb.OVERLAY, "sim", (ALL_HOSTS,), "stop", 0, 1, args=said)
    return signed(directive, Purpose.DIRECTIVE, *signers)


def off(number: int, *flags: str) -> Overlay:
    """An overlay by which flags are off."""
    return Overlay(OVERLAY_SCHEMA, "sim", number, flags_off=dict.fromkeys(flags, number))


def lay(world: World, overlay: Overlay, *signers: Signer) -> None:
    """It is in force on every host at once; what a guard would ask of it is not asked."""
    envelope = carried(overlay, *signers)
    for host in world.truth.values():
        host.direct(msgspec.json.decode(envelope.body(), type=Directive), envelope)


def lay_from_here(world: World, overlay: Overlay) -> None:
    """The same by the machine that the run is on, which keeps it first."""
    world.overlay = (carried(overlay, world.key), overlay)
    lay(world, overlay, world.key)
