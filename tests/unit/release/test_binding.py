"""Bindings: signed per host, opened only when the policy's people signed them for this fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.release.conftest import Workshop
from tradeops.base.errors import Refused, SignatureInvalid
from tradeops.contracts.binding import BINDING_SCHEMA, Binding
from tradeops.contracts.codec import encode
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.signature import RunKey
from tradeops.release.binding import load_bindings, open_binding, sign_binding, sign_bindings


def make_binding(data: dict[str, Any]) -> Binding:
    return msgspec.convert({"schema": BINDING_SCHEMA, **data}, Binding)


DATA: dict[str, Any] = {
    "fleet": "lab",
    "environment": "staging",
    "host": "host-1",
    "service": "trader",
    "venues": [
        {"name": "SIM", "order_entry": "ws://venue/1", "market_data": "ws://venue/2", "drop_copy": "ws://venue/3", "account": "one"}
    ],
    "instruments": [{"symbol": "AAA", "tick": 10_000_000, "lot": 1_000_000_000, "reference_price": 10**11, "as_of_wall_ns": 1}],
    "budgets": {"gross": 10**15},
}


def test_bindings_go_through_their_folder(workshop: Workshop, tmp_path: Path) -> None:
    """Made, signed, kept as HOST.json with nobody else reading, loaded, opened: the same. A host without one is left out."""
    binding = make_binding(DATA)
    signed = sign_bindings([binding], workshop.signer, tmp_path / "bindings")
    assert (tmp_path / "bindings" / "host-1.json").stat().st_mode & 0o777 == 0o600
    assert load_bindings(tmp_path / "bindings", ["host-1", "host-2"]) == signed
    assert open_binding(signed["host-1"], workshop.policy) == binding


def test_what_must_not_be_opened(workshop: Workshop) -> None:
    """A05: by a stranger, for another fleet, signed for another purpose, another schema."""
    binding = make_binding(DATA)
    body = encode(binding)
    with pytest.raises(SignatureInvalid):
        open_binding(sign_binding(binding, RunKey.generate()), workshop.policy)
    with pytest.raises(SignatureInvalid):
        open_binding(Envelope.of(body, workshop.signer.sign(body, Purpose.DIRECTIVE)), workshop.policy)
    with pytest.raises(Refused, match="fleet"):
        open_binding(sign_binding(make_binding({**DATA, "fleet": "other"}), workshop.signer), workshop.policy)
    with pytest.raises(Refused, match="schema"):
        open_binding(sign_binding(make_binding({**DATA, "schema": "x"}), workshop.signer), workshop.policy)
