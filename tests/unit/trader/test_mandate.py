"""What a trader was given it verifies itself; what is wrong with it is refused, or halts it with the reason in its vitals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.support.trader import LIMITS, MEAN_FLAG, SLOT, STRANGER, Desk, HostRoot, overlay, overlay_file, signed
from tradeops.base.clock import VirtualClock
from tradeops.base.errors import Refused, SignatureInvalid, TradeopsError, UsageError
from tradeops.contracts.codec import encode
from tradeops.contracts.directive import Verb
from tradeops.contracts.envelope import Purpose
from tradeops.contracts.manifest import Flag
from tradeops.contracts.pages import read_vitals
from tradeops.contracts.units import UNIT
from tradeops.trader.assembly import read_secret
from tradeops.trader.mandate import Mandate, load_mandate, load_overlay
from tradeops.trader.overlays import OverlayWatch, tighter
from tradeops.wire.marketdata import Source

Start = Callable[..., Desk]


def load(host: HostRoot, release: str = "", binding: str = "") -> Mandate:
    return load_mandate(host.layout, SLOT, expected_release=release, expected_binding=binding)


def test_a_whole_mandate_is_read(host: HostRoot) -> None:
    """Ids are the digests of the signed bytes, and must be those that it was started as."""
    mandate = load(host)
    assert load(host, mandate.release_id, mandate.binding_id) == mandate
    assert not mandate.live_only
    with pytest.raises(Refused, match="the slot holds"):
        load(host, "sha256:" + "0" * 64)
    with pytest.raises(Refused, match="another"):
        load(host, "", "sha256:" + "0" * 64)


def test_an_unentitled_release_or_binding_is_refused(host: HostRoot) -> None:
    """A05: signed by nobody the policy knows; signed for another purpose."""
    host.write_release(STRANGER)
    with pytest.raises(SignatureInvalid):
        load(host)
    host.write_release()
    file = host.layout.slot(SLOT) / "binding.json"
    file.write_bytes(signed(encode(host.binding()), Purpose.RELEASE))
    with pytest.raises(SignatureInvalid):
        load(host)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("schema", "other/v1", "not a binding"),
        ("host", "host-2", "for host 'host-2'"),
        ("fleet", "other", "for fleet 'other'"),
        ("service", "router", "different services"),
    ],
)
def test_a_binding_for_something_else_is_refused(host: HostRoot, field: str, value: str, said: str) -> None:
    """Another host's, fleet's or service's binding does not fit, however well it is signed."""
    other = msgspec.structs.replace(host.binding(), **{field: value})
    (host.layout.slot(SLOT) / "binding.json").write_bytes(signed(encode(other), Purpose.BINDING))
    with pytest.raises(Refused, match=said):
        load(host)


def test_what_is_missing_or_malformed_is_named(host: HostRoot) -> None:
    """File by file."""
    file = host.layout.slot(SLOT) / "binding.json"
    file.write_text("{")
    with pytest.raises(UsageError, match=r"binding\.json"):
        load(host)
    file.unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        load(host)


def test_an_unknown_flag_starts_halted(host: HostRoot, start: Start) -> None:
    """D05: the process lives, says why, and nothing makes it trade."""
    host.release = msgspec.structs.replace(host.release, flags=(MEAN_FLAG, Flag("old-path", "sha256:1")))
    host.write_release()
    desk = start()
    desk.log_on()
    desk.subscribe()
    desk.quotes()
    desk.permit()
    assert desk.session.orders() == []
    desk.rooms.write_vitals(desk.rooms.gate.look())
    vitals = read_vitals(desk.layout.vitals_page(SLOT))
    assert vitals is not None
    assert vitals.state == "halted"
    assert any("old-path is unknown" in warning for warning in vitals.warnings)


@pytest.mark.parametrize("beside_slot", [True, False])
def test_a_tombstone_starts_halted(host: HostRoot, start: Start, beside_slot: bool) -> None:
    """D05: a release from before the flag was retired: whether the overlay came with a switch or to the guard, it does not trade."""
    place = host.layout.slot(SLOT) / "overlay.json" if beside_slot else host.layout.overlay_file
    place.write_bytes(overlay_file(overlay(3, flags_retired=(MEAN_FLAG.id,))))
    desk = start()
    desk.log_on()
    desk.subscribe()
    desk.quotes()
    desk.permit()
    assert desk.session.orders() == []
    assert desk.rooms.standing.reasons == {"flags": "flag lean-to-mean is a tombstone"}


@pytest.mark.parametrize(
    ("budgets", "said"),
    [({}, "no positive value for gross_notional"), ({"gross_notional": UNIT, "sector": 1}, "nothing reads the limits sector")],
)
def test_limits_that_do_not_hold_start_halted(host: HostRoot, start: Start, budgets: dict[str, int], said: str) -> None:
    """R01, D12: missing, or wired to nothing."""
    host.budgets = budgets
    host.write()
    desk = start()
    assert said in "; ".join(desk.rooms.standing.reasons.values())


def test_a_strategy_symbol_without_reference_data_starts_halted(start: Start) -> None:
    """What cannot be judged is not traded."""
    assert "no reference data for NOSUCH" in start(strategy__symbols=["NOSUCH"]).rooms.standing.reasons["symbols"]


def test_a_release_without_limits_starts_halted(host: HostRoot, start: Start) -> None:
    """D12."""
    host.release = msgspec.structs.replace(host.release, limits=None)
    host.write_release()
    assert "order_quantity_max" in start().rooms.standing.reasons["limits"]


def test_production_takes_no_generated_prices(host: HostRoot, start: Start) -> None:
    """R12: a feed that says it is a replay halts a live daemon; in staging it may drive it."""
    host.environment = "production"
    host.write()
    desk = start()
    desk.subscribe(Source.LIVE)
    assert desk.rooms.standing.reasons == {}
    desk.subscribe(Source.REPLAY)
    assert "replay" in desk.rooms.standing.reasons["feed_source"]


def test_an_overlay_is_verified(tmp_path: Path, host: HostRoot) -> None:
    """Signed by somebody entitled, for this host and fleet, or refused; none is none."""
    policy, path = load(host).policy, tmp_path / "overlay.json"

    def read() -> object:
        return load_overlay(path, policy, fleet="lab", host="host-1")

    assert read() is None
    path.write_bytes(overlay_file(overlay(3, limits={"position_max": 5})))
    assert read() == overlay(3, limits={"position_max": 5})
    path.write_bytes(overlay_file(overlay(3), STRANGER))
    with pytest.raises(SignatureInvalid):
        read()
    for wrong in (
        overlay_file(overlay(3), verb=Verb.HALT),
        overlay_file(overlay(3), hosts=("host-2",)),
        overlay_file(msgspec.structs.replace(overlay(3), fleet="other")),
        overlay_file(msgspec.structs.replace(overlay(3), schema="other")),
    ):
        path.write_bytes(wrong)
        with pytest.raises(Refused):
            read()


def test_overlays_only_tighten() -> None:
    """A newer one never loosens what this process has obeyed; one that is gone stays in force."""
    first = overlay(1, limits={"position_max": 5, "order_count_max": 9}, flags_off={"a": 1}, flow_cap_ppm=100, symbols_blocked=("X",))
    second = overlay(2, limits={"position_max": 7, "order_count_max": 3}, flags_off={"b": 2}, flags_retired=("z",))
    both = tighter(first, second)
    assert both is not None
    assert both.number == 2
    assert both.limits == {"position_max": 5, "order_count_max": 3}
    assert (both.flags_off, both.flow_cap_ppm, both.symbols_blocked) == ({"a": 1, "b": 2}, 100, ("X",))
    assert both.flags_retired == ("z",)
    assert tighter(overlay(3, flags_off={"a": 3}), both) == msgspec.structs.replace(both, number=3, flags_off={"a": 3, "b": 2})
    assert tighter(first, None) is first
    assert tighter(None, second) is second


def test_an_overlay_is_read_when_it_changes_and_not_otherwise(tmp_path: Path) -> None:
    """A stat per look; a file that cannot be believed is read again at the next."""
    path, reads = tmp_path / "overlay.json", []

    def _load(file: Path) -> object:
        reads.append(file)
        if file.exists() and file.read_text() == "bad":
            raise TradeopsError("bad")
        return overlay(len(reads)) if file.exists() else None

    watch = OverlayWatch((path,), _load)  # type: ignore[arg-type]  # a loader of objects is enough here
    assert not watch.look()
    assert reads == []
    path.write_text("1")
    assert watch.look()
    assert not watch.look()
    path.write_text("bad")
    for _ in range(2):
        with pytest.raises(TradeopsError):
            watch.look()
    path.unlink()
    assert not watch.look()
    assert watch.current is not None


def test_secrets_come_from_files_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never from the binding; a missing one is an error that names it, and not its value."""
    (tmp_path / "venue-a").write_text("from a file\n")
    monkeypatch.setenv("TRADEOPS_SECRET_VENUE_B", "from the environment")
    assert read_secret(tmp_path, "venue-a") == b"from a file"
    assert read_secret(tmp_path, "venue-b") == b"from the environment"
    with pytest.raises(UsageError, match="no secret 'venue-c'"):
        read_secret(tmp_path, "venue-c")


def test_limits_are_shown_with_their_values(start: Start, clock: VirtualClock) -> None:
    """The vitals carry the limits in force, the flags with their meaning, and the overlay's number."""
    desk = start()
    desk.log_on()
    desk.look()
    desk.rooms.set_overlay(overlay(4, limits={"position_max": UNIT}, flags_off={MEAN_FLAG.id: 4}))
    desk.rooms.write_vitals(desk.rooms.gate.look())
    vitals = read_vitals(desk.layout.vitals_page(SLOT))
    assert vitals is not None
    assert (vitals.limits["position_max"], vitals.limits["order_quantity_max"]) == (UNIT, LIMITS.order_quantity_max)
    assert (vitals.identity.overlay, vitals.identity.flags) == (4, {})
    assert vitals.beat_ns == clock.monotonic_ns()
