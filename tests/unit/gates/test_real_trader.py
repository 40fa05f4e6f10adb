"""What the default gate asks for is what a real trader exports, through its real guard."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.people import HOST
from tests.support.sshd import host
from tests.support.three import running
from tests.support.wait import until
from tradeops.base.clock import NS_PER_S, SystemClock
from tradeops.contracts.metrics import PREFIX, Counter, Latency
from tradeops.fleet.control import HttpControls
from tradeops.fleet.outcome import errors, values
from tradeops.gates.arms import Arms
from tradeops.gates.evidence import Ruling
from tradeops.gates.past import Past
from tradeops.gates.sources.choose import source_of
from tradeops.gates.spec import GateSpec
from tradeops.gates.verdict import Gate

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("guard-trader-venue")]


def test_a_real_trader_is_sampled_whole_and_judged(tmp_path: Path) -> None:
    """Every series of the default metrics is there; rounds close; a bake of half a second is held for want of signals, not of data."""
    clock, spec = SystemClock(), GateSpec.model_validate({"warm_up": "0s"})
    with running(tmp_path) as up:
        up.trade()
        hosts = [host(HOST, port=1, control_port=up.host.port)]
        source = source_of(spec, HttpControls(up.host.tls.folder, clock), clock)
        first = source.read(hosts, deadline_s=5)
        assert errors(first) == {}
        release = values(first)[HOST].release
        now_s = clock.monotonic_ns() / NS_PER_S
        past, gate = Past(spec, {HOST: release}), Gate(spec, Arms({HOST: release}), bake_s=0.5, exposure_min=300, now_s=now_s)

        def judged() -> float:
            reading, now_s = source.read(hosts, deadline_s=5), clock.monotonic_ns() / NS_PER_S
            past.feed(reading, now_s)
            verdict = gate.feed(reading, now_s)
            assert verdict.problems == {}
            assert verdict.ruling is not Ruling.FAIL, verdict.why
            return verdict.exposure

        until(lambda: judged() >= 3, 30, 0.2)
    counted = {name: sum(closed.canary.values[name] for closed in past.rounds) for name in sorted(spec.counters())}
    assert counted[PREFIX + Counter.SIGNALS] >= 3
    assert counted[PREFIX + Counter.ORDERS_SENT] >= 1
    assert any(closed.canary.histograms[PREFIX + Latency.ORDER_PLACEMENT].total for closed in past.rounds)
