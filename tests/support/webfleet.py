"""A small HTTP service that is not ours, on a lab behind a real HAProxy, and its life from the first deploy to a halt."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.support.callers import call, calling
from tests.support.fleetlab import FleetLab, bring_up, short_id, take_down
from tests.support.haproxy import BACKEND, RunningProxy, haproxy, say
from tests.support.wait import until
from tradeops.base.errors import ExitCode

WEB = Path(__file__).parent / "web"
PORT, CALLS = 8080, 600
LIAR = 9
QUICK = "schema: tradeops/playbook/v1\nname: quick\ndeadlines: { prove: 5s }\n"
CANARY = """\
schema: tradeops/playbook/v1
name: canary
steps: [{hosts: 1, flow: 10%, bake: 2s}, {hosts: 100%}]
deadlines: {prove: 5s}
"""


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


@contextmanager
def web_fleet(folder: Path, driver: str, hosts: int) -> Iterator[Web]:
    """Hosts enrolled for such a service behind a proxy; nothing is deployed, nothing permitted."""
    lab = bring_up(folder, driver, hosts)
    try:
        servers = {name: f"{address}:{PORT}" for name, address in addresses(lab).items()}
        with haproxy(servers, options="weight 100 check inter 100ms rise 1 fall 1") as proxy:
            enrol_for_web(lab, {"haproxy": [proxy.admin, proxy.stats], "backend": BACKEND})
            (lab.folder / "playbooks").mkdir()
            (lab.folder / "playbooks" / "quick.yml").write_text(QUICK)
            (lab.folder / "playbooks" / "canary.yml").write_text(CANARY)
            yield Web(lab, proxy)
    finally:
        take_down(lab)


def addresses(lab: FleetLab) -> dict[str, str]:
    """Host -> the address that its service listens on."""
    hosts = yaml.safe_load((lab.folder / "fleet.yml").read_text())["hosts"]
    return {host["name"]: host.get("fields", {}).get("control_address", host["address"]) for host in hosts}


def enrol_for_web(lab: FleetLab, traffic: dict[str, object] | None = None) -> None:
    """Change the fleet file as a person would, and enrol again."""
    file = lab.folder / "fleet.yml"
    units = {"units": {slot: f"trader-{slot}" for slot in ("blue", "green")}} if lab.state.driver == "local" else {}
    service = {"name": "web", "identity": "url", "traffic": traffic, **units}
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "service": service, "bindings": {}}))
    lab.must("fleet", "sign")
    lab.must("fleet", "enroll")


def live(web: Web) -> None:
    """No permit, no start; proved by what it says at its URL; no call lost in a switch; a kill ends it and lasts."""
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
    assert web.weights() == [["2", "0", "100"]] * len(lab.names())

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

    halted = lab.must("halt", "--all", "--reason", "test", "--count", str(len(lab.names())))
    assert halted.code == 0 and until(lambda: call(proxy.port)[0] == 503, 10)


def has_a_canary(web: Web) -> None:
    """After a halt: it bakes on its share of the calls, connections are waited for before each stop, and the weight is given back."""
    lab, proxy, hosts = web.lab, web.proxy, len(web.lab.names())
    lab.must("resume", "--all", "--reason", "test")
    web.deploy(2)
    third = web.release(LIAR + 1)
    slow: list[Future[tuple[int, str]]] = []
    baking: list[list[list[str]]] = []
    with ThreadPoolExecutor(max_workers=2 * hosts) as pool, calling(proxy.port, at_most=CALLS) as calls:
        acts = {
            "stage done": lambda _process: slow.extend(pool.submit(call, proxy.port, "/slow") for _ in range(2 * hosts)),
            "return done": lambda _process: baking.append(web.weights()),
        }
        ended = lab.watched("deploy", short_id(third), "--playbook", "canary", "--json", acts=acts)
    assert ended.code == 0, ended.out + ended.err
    assert [one.result()[0] for one in slow] == [200] * 2 * hosts and calls.failures == []
    assert baking == [[["2", "0", "22"], *[["2", "0", "100"]] * (hosts - 1)]], "a tenth of the fleet's calls"
    assert web.weights() == [["2", "0", "100"]] * hosts
    assert calls.answers[third]


def loses_its_proxy(web: Web) -> None:
    """HAProxy dies in mid-run: not 0, and it is named; every host is on what it ran before, and nothing is begun without it."""
    lab, proxy = web.lab, web.proxy
    words = ("deploy", short_id(web.release(LIAR + 2)), "--playbook", "canary", "--json")
    ended = lab.midway(*words, at="return done", act=lambda _process: proxy.end())
    assert ended.code == ExitCode.MIXED and proxy.admin in ended.out, ended.out + ended.err
    assert {host["vitals"]["identity"]["release"] for host in lab.run("status").document["hosts"]} == {web.release(LIAR + 1)}
    assert proxy.admin in web.deploy(LIAR + 2, ExitCode.PREFLIGHT)
