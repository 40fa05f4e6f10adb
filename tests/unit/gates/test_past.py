"""What hosts do before a run, for a plan to reckon with."""

from __future__ import annotations

from tests.support.gates import HOSTS, OLD, Daemon, reading
from tradeops.base.errors import Unreachable
from tradeops.contracts.metrics import PREFIX, Counter
from tradeops.fleet.outcome import Failed
from tradeops.gates.past import Past
from tradeops.gates.spec import GateSpec


def test_rounds_are_those_of_its_own_hosts() -> None:
    """Others may be in the reading; a bad reading closes no round and the next good one covers the gap."""
    fleet = {host: Daemon(host, OLD) for host in HOSTS}
    past = Past(GateSpec.model_validate({"warm_up": "0s"}), dict.fromkeys(HOSTS[:2], OLD))
    for second in range(4):
        outcomes = reading(fleet, float(second))
        if second == 2:
            outcomes[HOSTS[0]] = Failed(Unreachable("it does not answer"))
        past.feed(outcomes, float(second))
        for daemon in fleet.values():
            daemon.count(signals=10)
    assert [closed.canary.values[PREFIX + Counter.SIGNALS] for closed in past.rounds] == [20, 40]
