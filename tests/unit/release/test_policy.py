"""First policies: what people write, signed, and read back only when it holds."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tradeops.base.errors import Refused, UsageError
from tradeops.contracts.codec import decode
from tradeops.contracts.entitle import stored_policy
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.policy import Person
from tradeops.contracts.signature import RunKey
from tradeops.release.policy import first_policy, sign_policy

ONE, TWO = RunKey.from_private_bytes(b"\x01" * 32), RunKey.from_private_bytes(b"\x02" * 32)
PEOPLE = [Person("operator-1", (ONE.public_line,), ("operator",)), Person("risk-1", (TWO.public_line,), ("risk",))]


def test_a_first_policy_is_signed_by_its_own_people(tmp_path: Path) -> None:
    """Kept where it is asked to be; the next one follows it and is signed as it says."""
    path = tmp_path / "policy.json"
    first = first_policy("lab", PEOPLE)
    sign_policy(first, [ONE], None, path)
    assert stored_policy(decode(path.read_bytes(), Envelope, source="policy")) == first
    with pytest.raises(Refused):
        sign_policy(first, [TWO], None, path)
    successor = msgspec.structs.replace(first, number=2)
    with pytest.raises(Refused):
        sign_policy(successor, [TWO], first, path)
    assert stored_policy(sign_policy(successor, [ONE], first, path)).number == 2


def test_a_policy_under_which_nothing_could_trade_is_refused() -> None:
    """K07: two people must be able to permit; a role that is not known is named."""
    with pytest.raises(UsageError, match="nothing could ever trade"):
        first_policy("lab", PEOPLE[:1])
    with pytest.raises(UsageError, match="no duty"):
        first_policy("lab", PEOPLE, apart=("king",))
    with pytest.raises(UsageError, match="unknown role"):
        first_policy("lab", [msgspec.structs.replace(PEOPLE[0], roles=("king",)), PEOPLE[1]])
