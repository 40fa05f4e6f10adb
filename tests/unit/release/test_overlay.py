"""Overlays on the operator's machine: kept inside the directive that set them, the highest number in force, each tighter than the last."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.support.people import signed
from tests.unit.release.conftest import Workshop
from tradeops.base.errors import Refused, SignatureInvalid, UsageError
from tradeops.contracts.binding import OVERLAY_SCHEMA, Overlay
from tradeops.contracts.directive import ALL_HOSTS, SCHEMA, Directive, Verb
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.signature import RunKey, Signer
from tradeops.release.overlay import buried, keep_overlay, newest_overlay, turned_off


def carried(overlay: object, signer: Signer, verb: Verb = Verb.OVERLAY) -> Envelope:
    """The directive that carries an overlay."""
    args = {"overlay": msgspec.to_builtins(overlay)}
    return signed(Directive(SCHEMA, "v1", verb, "lab", (ALL_HOSTS,), "test", 0, 1, args=args), Purpose.DIRECTIVE, signer)


def test_the_overlay_in_force_is_the_highest_or_an_error(workshop: Workshop, tmp_path: Path) -> None:
    """A07: an older overlay never stands in for a newer one that does not hold."""
    folder = tmp_path / "overlays"
    assert newest_overlay(folder, workshop.policy) is None
    for number in (2, 10):
        overlay = Overlay(OVERLAY_SCHEMA, "lab", number, flags_off={"smars-7": number})
        keep_overlay(folder, overlay, carried(overlay, workshop.signer))
    found = newest_overlay(folder, workshop.policy)
    assert found is not None
    assert found[1] == overlay
    forged = Overlay(OVERLAY_SCHEMA, "lab", 11)
    keep_overlay(folder, forged, carried(forged, RunKey.generate()))
    with pytest.raises(SignatureInvalid):
        newest_overlay(folder, workshop.policy)


@pytest.mark.parametrize(
    ("document", "verb", "kind"),
    [
        (Overlay(OVERLAY_SCHEMA, "lab", 1), Verb.HALT, Refused),
        (Overlay(OVERLAY_SCHEMA, "other", 1), Verb.OVERLAY, Refused),
        (Overlay("other", "lab", 1), Verb.OVERLAY, Refused),
        ({"number": "one"}, Verb.OVERLAY, UsageError),
    ],
)
def test_what_is_no_overlay_of_this_fleet_is_refused(
    workshop: Workshop, tmp_path: Path, document: object, verb: Verb, kind: type[Exception]
) -> None:
    """Another verb, another fleet, another schema, another shape: each by an entitled person, and none in force."""
    keep_overlay(tmp_path, Overlay(OVERLAY_SCHEMA, "lab", 1), carried(document, workshop.signer, verb))
    with pytest.raises(kind):
        newest_overlay(tmp_path, workshop.policy)


def test_the_next_overlay_keeps_all_that_came_before() -> None:
    """D06: off with the number of its overlay, again with a higher one; a tombstone beside it; limits as they were."""
    first = turned_off(None, "a", fleet="lab")
    assert first == Overlay(OVERLAY_SCHEMA, "lab", 1, flags_off={"a": 1})
    tightened = msgspec.structs.replace(first, limits={"position_max": 5})
    second = buried(tightened, "z", fleet="lab")
    assert second == msgspec.structs.replace(tightened, number=2, flags_retired=("z",))
    assert turned_off(second, "a", fleet="lab").flags_off == {"a": 3}
    assert turned_off(second, "b", fleet="lab").flags_off == {"a": 1, "b": 3}
