"""The terms in force: mandate, configuration and overlay boiled down to what the hot path asks. Replaced whole, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tradeops.contracts.binding import Instrument, Overlay
from tradeops.contracts.flags import active_flags
from tradeops.contracts.metrics import flag_hits
from tradeops.contracts.units import PPM
from tradeops.trader import flags
from tradeops.trader.config import TraderConfig, ns
from tradeops.trader.mandate import Mandate
from tradeops.trader.risk.check import Bounds
from tradeops.trader.risk.limits import Limits, tightest, unknown
from tradeops.trader.strategy.quoter import QuoterSettings
from tradeops.wire.protocol import Tags


@dataclass(frozen=True)
class Terms:
    """flow_cap_ppm: the share of decisions that the overlay leaves to this host.  flags: active id -> digest of its meaning.

    hits: counters of the flags' paths that each question to the strategy goes down.
    """

    limits: Limits
    bounds: Bounds
    settings: QuoterSettings
    symbols: tuple[str, ...]
    instruments: Mapping[str, Instrument]
    venues: tuple[str, ...]
    tags: Tags
    tolerance_ppm: int
    post_only: bool
    requote_ns: int
    path_away_ppm: int
    flow_cap_ppm: int
    flags: Mapping[str, str]
    hits: tuple[str, ...]
    overlay_number: int


def terms(mandate: Mandate, config: TraderConfig, overlay: Overlay | None) -> Terms:
    """What holds with this overlay."""
    release, binding = mandate.release, mandate.binding
    active = active_flags(release.flags, overlay.flags_off if overlay else {})
    settings = config.strategy.settings()
    if flags.LEAN_TO_MEAN not in active:
        settings = settings.without_reversion()
    limits = tightest(release.limits, binding.budgets, overlay)
    instruments = {instrument.symbol: instrument for instrument in binding.instruments}
    wanted = config.strategy.symbols or tuple(sorted(limits.instruments & instruments.keys()))
    return Terms(
        limits=limits,
        bounds=config.risk.bounds(),
        settings=settings,
        symbols=wanted,
        instruments=instruments,
        venues=tuple(venue.name for venue in binding.venues),
        tags=Tags(strategy=config.strategy.name, release=mandate.release_id, host=mandate.host.host, desk=config.desk),
        tolerance_ppm=config.strategy.tolerance_ppm,
        post_only=config.strategy.post_only,
        requote_ns=ns(config.strategy.requote),
        path_away_ppm=config.path_check.away_ppm,
        flow_cap_ppm=PPM if overlay is None or overlay.flow_cap_ppm is None else max(0, overlay.flow_cap_ppm),
        flags=active,
        hits=(flag_hits(flags.LEAN_TO_MEAN),) if settings.reversion_ppm else (),
        overlay_number=overlay.number if overlay else 0,
    )


def problems(mandate: Mandate, config: TraderConfig, overlay: Overlay | None) -> dict[str, str]:
    """Why, on these terms, the trader must be halted; by name."""
    found: dict[str, str] = {}
    release, binding = mandate.release, mandate.binding
    if said := flags.problems(release.flags, config.flags, overlay):
        found["flags"] = "; ".join(said)
    limits = tightest(release.limits, binding.budgets, overlay)
    if missing := limits.invalid():
        found["limits"] = f"no positive value for {', '.join(missing)}"
    if names := unknown(binding.budgets, overlay):
        found["budgets"] = f"nothing reads the limits {', '.join(names)}"
    instruments = {instrument.symbol for instrument in binding.instruments}
    if strange := sorted(set(config.strategy.symbols) - instruments):
        found["symbols"] = f"no reference data for {', '.join(strange)}"
    return found
