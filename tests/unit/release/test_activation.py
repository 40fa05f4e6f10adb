"""The release that turns a flag on: from the one that runs, with nothing else changed."""

from __future__ import annotations

import pytest

from tests.unit.release.conftest import Workshop
from tradeops.base.errors import Refused
from tradeops.contracts.flags import active_flags
from tradeops.release.activation import activation
from tradeops.release.store import StoredRelease

FLAGS = """
flags:
  - {id: rlp-7, meaning: "Routes retail orders to the new liquidity programme."}
"""


@pytest.fixture
def running(workshop: Workshop) -> StoredRelease:
    """A release that knows a flag."""
    workshop.ledger.declare("rlp-7", "Routes retail orders to the new liquidity programme.", by="operator-1", now_ns=1)
    workshop.define(FLAGS)
    return workshop.build()


def test_only_the_flag_differs(workshop: Workshop, running: StoredRelease) -> None:
    """D06: same files, the next number, its ancestry; made once and found again, after other releases too."""
    made = activation(workshop.store, running, "rlp-7", {}, workshop.signer)
    one, two = running.manifest.predicate, made.manifest.predicate
    assert (two.number, two.previous, two.files, two.provenance) == (2, running.id, one.files, {**one.provenance, "activates": "rlp-7"})
    assert list(active_flags(two.flags, {})) == ["rlp-7"]
    workshop.write("main.py", "print('three')\n")
    assert workshop.build().manifest.predicate.number == 3
    assert activation(workshop.store, running, "rlp-7", {}, workshop.signer).id == made.id
    assert activation(workshop.store, running, "rlp-7", {"rlp-7": 4}, workshop.signer).manifest.predicate.number == 4


def test_the_overlay_that_turned_it_off_is_ended(workshop: Workshop, running: StoredRelease) -> None:
    """By its number; a later one is not."""
    flags = activation(workshop.store, running, "rlp-7", {"rlp-7": 3}, workshop.signer).manifest.predicate.flags
    assert list(active_flags(flags, {"rlp-7": 3})) == ["rlp-7"]
    assert active_flags(flags, {"rlp-7": 4}) == {}


def test_what_is_not_known_or_on_already_is_refused(workshop: Workshop, running: StoredRelease) -> None:
    """Nothing is made."""
    with pytest.raises(Refused, match="does not know"):
        activation(workshop.store, running, "power-peg", {}, workshop.signer)
    made = activation(workshop.store, running, "rlp-7", {}, workshop.signer)
    with pytest.raises(Refused, match="in force already"):
        activation(workshop.store, made, "rlp-7", {}, workshop.signer)


def test_a_release_over_damaged_files_is_not_made(workshop: Workshop, running: StoredRelease) -> None:
    """A05: what is adopted is whole."""
    blob = running.blob(running.manifest.predicate.files[0].digest)
    blob.chmod(0o600)
    blob.write_text("other")
    with pytest.raises(Refused, match="damaged"):
        activation(workshop.store, running, "rlp-7", {}, workshop.signer)
