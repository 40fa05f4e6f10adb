"""A small HTTP service that is not ours on three local hosts behind a real HAProxy: deployed, proved, killed and rolled back by the
same commands as the trader, and nobody who calls it notices a switch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.support.callers import call, calling
from tests.support.fleetlab import FleetLab, bring_up, short_id, take_down
from tests.support.haproxy import BACKEND, HAPROXY, RunningProxy, haproxy, say
from tests.support.wait import until
from tradeops.base.errors import ExitCode

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("ssh") is None, reason="needs OpenSSH's client"),
    pytest.mark.skipif(HAPROXY is None, reason="needs haproxy (Debian: apt-get install haproxy)"),
]
WEB = Path(__file__).parents[2] / "support" / "web"
HOSTS, PORT, CALLS = 3, 8080, 600
LIAR = 9
QUICK = "schema: tradeops/playbook/v1\nname: quick\ndeadlines: { prove: 5s }\n"


@dataclass(frozen=True)
class Web:
    """The lab, and the proxy before it."""

    lab: FleetLab
    proxy: RunningProxy

    def release(self, number: int) -> str:
        """Built once; its id."""
        folder = self.lab.folder / f"service-{number}"
        if number not in self.lab.releases:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(WEB, folder)
            (folder / "service.yml").write_text((folder / "service.yml").read_text().replace('"1"', f'"{number}"'))
            if number == LIAR:
                text = (folder / "serve.py").read_text()
                (folder / "serve.py").write_text(
                    text.replace("json.dumps({**said,", 'json.dumps({**said, "release": "sha256:" + "0" * 64,')
                )
        return self.lab.build(number)

    def deploy(self, number: int, code: int = 0) -> str:
        """Deploy it; what the command said."""
        ended = self.lab.must("deploy", short_id(self.release(number)), "--playbook", "quick", code=code)
        return ended.out + ended.err

    def weights(self) -> list[list[str]]:
        """Of each server: operational state, administrative state, weight."""
        lines = say(self.proxy.admin, f"show servers state {BACKEND}").splitlines()[2:]
        return [line.split(" ")[5:8] for line in lines if line]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Three hosts enrolled for such a service, permitted; nothing is deployed."""
    lab = bring_up(tmp_path_factory.mktemp("web"), "local", HOSTS)
    try:
        file = lab.folder / "fleet.yml"
        fleet = yaml.safe_load(file.read_text())
        servers = {host["name"]: f"{host['fields']['control_address']}:{PORT}" for host in fleet["hosts"]}
        with haproxy(servers, options="weight 100 check inter 100ms rise 1 fall 1") as proxy:
            units = {slot: f"trader-{slot}" for slot in ("blue", "green")}
            traffic = {"haproxy": [proxy.admin, proxy.stats], "backend": BACKEND}
            service = {"name": "web", "identity": "url", "units": units, "traffic": traffic}
            file.write_text(yaml.safe_dump({**fleet, "service": service, "bindings": {}}))
            (lab.folder / "playbooks").mkdir()
            (lab.folder / "playbooks" / "quick.yml").write_text(QUICK)
            lab.must("fleet", "sign")
            lab.must("fleet", "enroll")
            yield Web(lab, proxy)
    finally:
        take_down(lab)


def test_it_lives_as_the_trader_does(web: Web) -> None:
    """D01, D02, D08, K06, K07: no permit, no start; proved by what it says at its URL; no call lost; a kill ends it and lasts."""
    lab, proxy = web.lab, web.proxy
    assert "no gate that would hold it halted" in web.deploy(1, ExitCode.REFUSED)
    lab.permit()
    web.deploy(1)
    assert lab.trading() == set(lab.names())
    lab.must("verify")
    first, second = web.release(1), web.release(2)

    with calling(proxy.port, at_most=CALLS) as calls:
        web.deploy(2)
    assert calls.failures == [] and calls.count > 20
    assert set(calls.answers) == {first, second}
    assert web.weights() == [["2", "0", "100"]] * HOSTS

    with calling(proxy.port, at_most=CALLS) as calls:
        assert "release by agent: 000000000000" in web.deploy(LIAR, ExitCode.BROUGHT_BACK)
    assert calls.failures == []
    assert set(calls.answers) == {second}

    with calling(proxy.port, at_most=CALLS) as calls:
        lab.must("rollback", "--playbook", "quick")
    assert calls.failures == []
    assert set(calls.answers) == {first, second}
    lab.must("verify")

    killed = lab.must("kill-switch", "--all", "--reason", "test")
    assert {host["blocked_ms"] is not None for host in killed.document["hosts"]} == {True}
    assert until(lambda: call(proxy.port)[0] == 503, 10)
    assert "bear a mark" in web.deploy(2, ExitCode.REFUSED)
    lab.permit()
    assert lab.trading() == set()
    web.deploy(2)
    assert lab.trading() == set(lab.names()) and call(proxy.port) == (200, second)

    halted = lab.must("halt", "--all", "--reason", "test", "--count", str(HOSTS))
    assert halted.code == 0 and until(lambda: call(proxy.port)[0] == 503, 10)
