"""The binding of a simulated host."""

from __future__ import annotations

from tradeops.contracts.binding import BINDING_SCHEMA, Binding
from tradeops.contracts.codec import encode
from tradeops.contracts.envelope import Envelope


def make_binding(name: str) -> Envelope:
    """An unsigned binding: the simulated hosts do not look at signatures, the real agent's tests do."""
    return Envelope.of(encode(Binding(BINDING_SCHEMA, "sim", "lab", name, "trader", (), (), {})))
