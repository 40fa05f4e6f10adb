"""First policies and overlays in force: what people write, signed, and read back only when it holds."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.unit.release.conftest import Workshop
from tradeops.base.errors import Refused, SignatureInvalid, UsageError
from tradeops.contracts.binding import OVERLAY_SCHEMA, Overlay
from tradeops.contracts.codec import decode
from tradeops.contracts.entitle import stored_policy
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.policy import Person
from tradeops.contracts.signature import RunKey
from tradeops.release.binding import sign_document
from tradeops.release.overlay import newest_overlay
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
    with pytest.raises(UsageError, match="unknown role"):
        first_policy("lab", [msgspec.structs.replace(PEOPLE[0], roles=("king",)), PEOPLE[1]])


def test_the_overlay_in_force_is_the_highest_or_an_error(workshop: Workshop, tmp_path: Path) -> None:
    """A07: an older overlay never stands in for a newer one that does not hold."""
    folder = tmp_path / "overlays"
    assert newest_overlay(folder, workshop.policy) is None
    folder.mkdir()
    for number in (2, 10):
        overlay = Overlay(OVERLAY_SCHEMA, "lab", number, flags_off=("smars-7",))
        (folder / f"{number}.json").write_bytes(msgspec.json.encode(sign_document(overlay, workshop.signer)))
    found = newest_overlay(folder, workshop.policy)
    assert found is not None
    assert found[1].number == 10
    forged = sign_document(Overlay(OVERLAY_SCHEMA, "lab", 11), RunKey.generate())
    (folder / "11.json").write_bytes(msgspec.json.encode(forged))
    with pytest.raises(SignatureInvalid):
        newest_overlay(folder, workshop.policy)
